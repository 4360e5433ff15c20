"""How fast a model alone is, by the size of its batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.model import Model

__all__ = ["BATCH_SIZES", "Speed", "speeds"]

BATCH_SIZES = (1, 16, 128, 1024, 4096)
_WARM_UP = 3
_LEAST_RUNS = 8


@dataclass(frozen=True)
class Speed:
    """Latency of one call, and events a second at that size."""

    batch_events: int
    p50_ms: float
    p99_ms: float
    events_per_s: float


def speeds(
    model: Model,
    windows: NDArray[np.float32],
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seconds_each: float = 0.25,
) -> list[Speed]:
    """Time calls of each size on real windows (n, W, F), which are repeated where they are too few."""
    found = []
    for size in batch_sizes:
        batch = np.ascontiguousarray(np.resize(windows, (size, *windows.shape[1:])))
        for _ in range(_WARM_UP):
            model.score(batch)
        took_s: list[float] = []
        end = time.perf_counter() + seconds_each
        while time.perf_counter() < end or len(took_s) < _LEAST_RUNS:
            began = time.perf_counter()
            model.score(batch)
            took_s.append(time.perf_counter() - began)
        p50, p99 = np.quantile(took_s, (0.5, 0.99))
        found.append(Speed(size, float(p50) * 1e3, float(p99) * 1e3, size / float(p50)))
    return found
