"""Standardisation: each entity's rows on one scale, whatever their units.

Plain arithmetic over rows; nothing here knows of files or artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standard", "fill_missing", "fit_standard", "raw", "standardised"]

_Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Standard:
    """Centre and spread per entity (E, F); ``fleet_center`` and ``fleet_spread`` (F) for entities not seen."""

    center: NDArray[np.float64]
    spread: NDArray[np.float64]
    fleet_center: NDArray[np.float64]
    fleet_spread: NDArray[np.float64]


def fit_standard(series: Sequence[NDArray[np.floating]]) -> Standard:
    """Statistics of each entity's raw rows (n, F), NaN where a value is missing.

    spread = max(sd, min(m, range / 2)), where m is the feature's median sd over the entities in which it moves;
    the spread is m where the feature never moves. So a feature that is almost still in one entity is judged by
    how it moves in the others. m is 1 where it moves in none.
    """
    stats = np.array([_moments(rows) for rows in series])
    mean, sd, span = stats[:, 0], stats[:, 1], stats[:, 2]
    fleet_spread = np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in sd.T])
    floor = np.where(span > 0, np.minimum(fleet_spread, span / 2), fleet_spread)
    return Standard(mean, np.maximum(sd, floor), np.median(mean, axis=0), fleet_spread)


def _moments(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean, standard deviation and range (3, F) of the values that are there; 0 where none is."""
    values = rows.astype(np.float64)
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0).sum(axis=0) / count
    sd = np.sqrt(np.where(there, (values - mean) ** 2, 0).sum(axis=0) / count)
    low, high = np.where(there, values, np.inf).min(axis=0), np.where(there, values, -np.inf).max(axis=0)
    span = np.where(there.any(axis=0), high - low, 0)
    sd[span == 0] = 0  # rounding of the mean leaves a trace of sd in a constant
    return np.array([mean, sd, span])


def standardised(
    rows: NDArray[np.float64], center: NDArray[np.float64], spread: NDArray[np.float64]
) -> _Rows:
    """Standardise: z = 5 asinh((x - center) / (5 spread)), linear near 0, logarithmic from about 5 on."""
    return np.asarray(5 * np.arcsinh((rows - center) / (5 * spread)), np.float32)


def raw(rows: _Rows, center: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reverse of ``standardised``."""
    return np.asarray(center + 5 * spread * np.sinh(rows.astype(np.float64) / 5))


def fill_missing(rows: _Rows) -> _Rows:
    """Standardised rows with each NaN replaced by the value before it, or by 0, the centre, at the start."""
    missing = np.isnan(rows)
    if not missing.any():
        return rows
    source = np.where(missing, -1, np.arange(len(rows))[:, None])
    np.maximum.accumulate(source, axis=0, out=source)
    filled = np.take_along_axis(rows, np.maximum(source, 0), axis=0)
    filled[source < 0] = 0
    return filled
