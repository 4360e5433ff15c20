"""What a usual error of a part is that looks at whole windows, measured on each entity's training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.families.part import Part, Series
from stream_infer.models.families.sampling import spread_evenly, windows_of

__all__ = ["usual_errors"]

_WINDOWS_MAX = 20_000
_LEAST = 0.5


def usual_errors(part: Part, series: Series) -> NDArray[np.float64]:
    """Root mean square of the part's errors, per entity and feature (E, F), but at least 0.5.

    Over at most 20,000 windows of each entity.
    """
    measured = np.empty((len(series), series[0].shape[1]))
    for index, rows in enumerate(series):
        total, used = np.zeros(rows.shape[1]), 0
        for _, at in spread_evenly([rows], first=0, limit=_WINDOWS_MAX):
            errors = part.errors(windows_of(rows, part.rows, at)).astype(np.float64)
            total += (errors * errors).sum(axis=0)
            used += len(at)
        measured[index] = np.sqrt(total / max(used, 1))
    return np.maximum(measured, _LEAST)
