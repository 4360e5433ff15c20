"""Batches in buckets: a program is recorded once per size, and replayed.

On a GPU a recording is a CUDA graph, which is replayed without Python or launches in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch

from stream_infer.log import get_logger
from stream_infer.models.buckets import bucket_of

__all__ = ["Buckets", "Record", "Recorded", "cuda_graphs"]

_LOG = get_logger(__name__)
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
    away. A bucket is recorded when it is first asked for, which the worker's warm-up does; where that lacks memory,
    batches go in parts of less. ``locked``: to and from a GPU by page-locked memory, with one wait at the end of a
    batch. One thread at a time.
    """

    def __init__(self, record: Record, batch_max: int, *, locked: bool = False) -> None:
        self._record = record
        self._most = bucket_of(batch_max)
        self._locked = locked
        self._recorded: dict[int, Recorded] = {}
        self._lock = threading.Lock()

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows (n, W, F) in the host's memory -> errors, there too."""
        with self._lock:
            errors = self._replayed(windows)
            if self._locked:
                torch.cuda.current_stream().synchronize()
            return torch.cat(errors)

    def _replayed(self, windows: torch.Tensor) -> list[torch.Tensor]:
        """Errors of all parts; from a GPU they are only on their way, in the order of its stream."""
        errors: list[torch.Tensor] = []
        at = 0
        while at < len(windows) or not errors:
            part = windows[at : at + self._most]
            recorded = self._recording(bucket_of(len(part)))
            if recorded is not None:
                errors.append(self._through(recorded, part))
                at += len(part)
        return errors

    def _recording(self, size: int) -> Recorded | None:
        """None where there is too little memory for it: buckets of its size are not tried again."""
        if size not in self._recorded:
            try:
                self._recorded[size] = self._record(size)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self._most = size // 2
                _LOG.warning("parts are smaller, for want of memory", part=self._most)
                return None
        return self._recorded[size]

    def _through(self, recorded: Recorded, windows: torch.Tensor) -> torch.Tensor:
        count = len(windows)
        recorded.windows[:count].copy_(windows.pin_memory() if self._locked else windows, non_blocking=True)
        recorded.replay()
        found = recorded.errors[:count]
        return torch.empty(found.shape, pin_memory=self._locked).copy_(found, non_blocking=True)


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
