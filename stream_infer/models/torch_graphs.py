"""Batches in buckets: a program is recorded once per size, and replayed.

On a GPU a recording is a CUDA graph, which is replayed without Python or launches in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["Buckets", "Record", "Recorded", "bucket_of", "cuda_graphs"]

_WARM_UP_RUNS = 3


class Recorded(NamedTuple):
    """``replay`` makes of what lies in ``windows`` what lies in ``errors`` afterwards."""

    windows: torch.Tensor
    errors: torch.Tensor
    replay: Callable[[], object]


Record = Callable[[int], Recorded]
"""Records a program for a number of windows."""


class Buckets:
    """Runs a recorded program over windows in buckets: powers of two up to ``batch_max``.

    A batch takes the smallest bucket that holds it; what is left in the bucket from before is computed and thrown
    away. A bucket is recorded when it is first asked for, which the worker's warm-up does. One thread at a time.
    """

    def __init__(self, record: Record, batch_max: int) -> None:
        self._record = record
        self._most = bucket_of(batch_max)
        self._recorded: dict[int, Recorded] = {}
        self._lock = threading.Lock()

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows (n, W, F) in the host's memory -> errors, there too."""
        with self._lock:
            return torch.cat([self._replayed(part) for part in windows.split(self._most)])

    def _replayed(self, windows: torch.Tensor) -> torch.Tensor:
        count = len(windows)
        size = bucket_of(count)
        if size not in self._recorded:
            self._recorded[size] = self._record(size)
        recorded = self._recorded[size]
        recorded.windows[:count].copy_(windows)
        recorded.replay()
        return recorded.errors[:count].to("cpu", copy=True)


def bucket_of(count: int) -> int:
    """The smallest power of two that is not less than ``count``."""
    return 1 << max(0, count - 1).bit_length()


def cuda_graphs(program: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int]) -> Record:
    """Records a program over windows of ``shape`` (W, F) as CUDA graphs."""

    def record(size: int) -> Recorded:
        windows = torch.zeros((size, *shape), device="cuda")
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # compiles, and lets libraries allocate, which a recording must not
            for _ in range(_WARM_UP_RUNS):
                program(windows)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            errors = program(windows)
        return Recorded(windows, errors, graph.replay)

    return record
