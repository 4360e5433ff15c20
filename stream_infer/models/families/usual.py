"""What a usual error of a part is, measured on each entity's training rows."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.families.part import Series
from stream_infer.models.families.sampling import spread_evenly, windows_of

__all__ = ["root_mean_square"]

_WINDOWS_MAX = 20_000


class _Errors(Protocol):
    @property
    def rows(self) -> int: ...

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]: ...


def root_mean_square(part: _Errors, series: Series) -> NDArray[np.float64]:
    """Of the part's errors, per entity and feature (E, F), over at most 20,000 windows of each entity."""
    measured = np.empty((len(series), series[0].shape[1]))
    for index, rows in enumerate(series):
        total, used = np.zeros(rows.shape[1]), 0
        for _, at in spread_evenly([rows], first=0, limit=_WINDOWS_MAX):
            errors = part.errors(windows_of(rows, part.rows, at)).astype(np.float64)
            total += (errors * errors).sum(axis=0)
            used += len(at)
        measured[index] = np.sqrt(total / max(used, 1))
    return measured
