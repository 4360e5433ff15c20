"""What training learns from rows: statistics per entity, the shared forecast, the shared subspace.

Plain linear algebra over rows that are already standardised; nothing here knows of files or artifacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.graph import Forecast, Subspace

__all__ = [
    "Standard",
    "fill_missing",
    "fit_forecast",
    "fit_standard",
    "fit_subspace",
    "standardised",
    "windows_of",
]

_Rows = NDArray[np.float32]

FORECAST_ROWS_MAX = 200_000
SUBSPACE_WINDOWS_MAX = 50_000
SUBSPACE_VARIANCE = 0.8


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


def windows_of(rows: _Rows, window: int, at: NDArray[np.int64]) -> _Rows:
    """Windows (len(at), W, F) that end at the given rows; their start is padded with the first row."""
    index = np.maximum(at[:, None] - np.arange(window - 1, -1, -1), 0)
    windows: _Rows = rows[index]
    return windows


def fit_forecast(series: Sequence[_Rows], lags: int) -> Forecast:
    """Ridge regression of each row on the ``lags`` rows before it, one for all entities.

    Uses at most 200,000 rows, evenly spread; penalty 10 max(1, rows / 20,000), none on the intercept.
    """
    features = series[0].shape[1]
    width = lags * features
    gram = np.zeros((width + 1, width + 1))
    cross = np.zeros((width + 1, features))
    used = 0
    for rows, at in _spread_evenly(series, first=lags, limit=FORECAST_ROWS_MAX):
        before = windows_of(rows, lags, at - 1).reshape(len(at), width).astype(np.float64)
        before = np.concatenate([before, np.ones((len(at), 1))], axis=1)
        gram += before.T @ before
        cross += before.T @ rows[at].astype(np.float64)
        used += len(at)
    penalty = np.full(width + 1, 10 * max(1.0, used / 20_000))
    penalty[-1] = 1e-9 * max(used, 1)
    solution = np.linalg.solve(gram + np.diag(penalty), cross)
    return Forecast(solution[:-1], solution[-1])


def fit_error_sd(series: Sequence[_Rows], forecast: Forecast) -> NDArray[np.float64]:
    """Standard deviation (E, F) of the forecast's errors on each entity's rows that have enough before them."""
    features = len(forecast.bias)
    error_sd = np.empty((len(series), features))
    for index, rows in enumerate(series):
        count = len(rows) - forecast.lags
        errors = rows[forecast.lags :].astype(np.float64) - forecast.bias
        for lag in range(forecast.lags):
            weights = forecast.weights[lag * features : (lag + 1) * features]
            errors -= rows[lag : lag + count] @ weights
        error_sd[index] = errors.std(axis=0)
    return error_sd


def fit_subspace(series: Sequence[_Rows], window: int) -> Subspace:
    """Principal components of flattened windows that hold 80 % of their variance, one set for all entities.

    Uses at most 50,000 windows, evenly spread.
    """
    width = window * series[0].shape[1]
    total, gram, used = np.zeros(width), np.zeros((width, width)), 0
    for rows, at in _spread_evenly(series, first=0, limit=SUBSPACE_WINDOWS_MAX):
        flat = windows_of(rows, window, at).reshape(len(at), width).astype(np.float64)
        total += flat.sum(axis=0)
        gram += flat.T @ flat
        used += len(at)
    center = total / used
    variance, vectors = np.linalg.eigh(gram / used - np.outer(center, center))
    variance, vectors = np.maximum(variance[::-1], 0), vectors[:, ::-1]
    share = np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)
    components = int(np.searchsorted(share, SUBSPACE_VARIANCE)) + 1
    return Subspace(center, vectors[:, : min(components, width)])


def _spread_evenly(series: Sequence[_Rows], first: int, limit: int) -> list[tuple[_Rows, NDArray[np.int64]]]:
    """Per entity its rows and the row numbers to use, from ``first`` on: at most ``limit`` in all, in proportion."""
    total = sum(max(len(rows) - first, 0) for rows in series)
    share = min(1.0, limit / max(total, 1))
    chosen = []
    for rows in series:
        count = int((len(rows) - first) * share)
        if count > 0:
            at = np.linspace(first, len(rows) - 1, count).round().astype(np.int64)
            chosen.append((rows, at))
    return chosen
