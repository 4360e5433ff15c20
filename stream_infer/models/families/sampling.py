"""Windows of training rows, and an even choice of them: fitting takes as much of large data as it needs, no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["spread_evenly", "window_rows", "windows_of"]

_CHUNK_VALUES = 1 << 22
WINDOW_ROWS = 20
WINDOW_VALUES_MAX = 1000


def window_rows(features: int) -> int:
    """Rows of the windows that are looked at as a whole: 20, fewer where rows are wide, so that 1,000 values do."""
    return max(1, min(WINDOW_ROWS, WINDOW_VALUES_MAX // features))


def windows_of(rows: NDArray[np.float32], window: int, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """Windows (len(at), W, F) that end at the given rows; their start is padded with the first row."""
    index = np.maximum(at[:, None] - np.arange(window - 1, -1, -1), 0)
    windows: NDArray[np.float32] = rows[index]
    return windows


def spread_evenly(
    series: Sequence[NDArray[np.float32]], first: int, limit: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Rows of an entity and the row numbers to use, from ``first`` on: at most ``limit`` in all, in proportion.

    An entity may come several times, so that what is made of one piece stays small. Of very many entities some are
    left out.
    """
    lengths = np.array([max(len(rows) - first, 0) for rows in series], np.int64)
    share = min(1.0, limit / max(int(lengths.sum()), 1))
    counts = np.diff(np.floor(np.cumsum(lengths) * share + 1e-9).astype(np.int64), prepend=0)
    for rows, length, count in zip(series, lengths.tolist(), counts.tolist(), strict=True):
        at = first + ((np.arange(count) + 0.5) * (length / max(count, 1))).astype(np.int64)
        step = max(256, _CHUNK_VALUES // (WINDOW_ROWS * rows.shape[1]))
        for start in range(0, count, step):
            yield rows, at[start : start + step]
