"""CUDA graphs: a program recorded once per batch size, and replayed without Python or launches in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["CudaGraphs", "bucket_of"]

_WARM_UP_RUNS = 3


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    windows: torch.Tensor
    errors: torch.Tensor


class CudaGraphs:
    """Runs ``program`` over windows of ``shape`` (W, F) in buckets: powers of two up to ``batch_max``.

    A batch takes the smallest bucket that holds it; what is left in the bucket from before is computed and thrown
    away. A bucket is recorded when it is first asked for, which the worker's warm-up does. One thread at a time.
    """

    def __init__(
        self, program: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int], batch_max: int
    ) -> None:
        self._program = program
        self._shape = shape
        self._most = bucket_of(batch_max)
        self._recorded: dict[int, _Recorded] = {}
        self._lock = threading.Lock()

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows (n, W, F) in the host's memory -> errors, there too."""
        with self._lock:
            if len(windows) <= self._most:
                return self._replayed(windows)
            return torch.cat([self._replayed(part) for part in windows.split(self._most)])

    def _replayed(self, windows: torch.Tensor) -> torch.Tensor:
        count = len(windows)
        size = bucket_of(count)
        recorded = self._recorded.get(size)
        if recorded is None:
            recorded = self._recorded[size] = self._record(size)
        recorded.windows[:count].copy_(windows)
        recorded.graph.replay()
        return recorded.errors[:count].cpu()

    def _record(self, size: int) -> _Recorded:
        windows = torch.zeros((size, *self._shape), device="cuda")
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # compiles, and lets libraries allocate, which a recording must not
            for _ in range(_WARM_UP_RUNS):
                self._program(windows)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            errors = self._program(windows)
        return _Recorded(graph, windows, errors)


def bucket_of(count: int) -> int:
    """The smallest power of two that is not less than ``count``."""
    return 1 << max(0, count - 1).bit_length()
