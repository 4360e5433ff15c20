"""Ridge regression of a row on rows before it, one for all entities; made from sums, so data of any length fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.families.part import Series
from stream_infer.models.families.sampling import spread_evenly, windows_of

__all__ = ["fit_own_ridge", "fit_ridge"]

ROWS_MAX = 200_000
GRAM_WORK_MAX = 4e11
"""Multiplications of one Gram matrix: what a few minutes of one core take at most."""

FACTORS = (1.0, 10.0, 30.0, 100.0)
"""Penalties that are tried, in units of the least one."""

_QUARTERS = 4
_CHOICE_WIDTH_MAX = 1000

_Law = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weights (lags * F, F) and bias (F)."""


@dataclass
class _Sums:
    """What a regression needs to know of its rows: products of inputs, of inputs with targets, of targets."""

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    square: float = 0.0
    used: int = 0

    @classmethod
    def empty(cls, width: int, features: int) -> _Sums:
        """Of no rows."""
        return cls(np.zeros((width + 1, width + 1)), np.zeros((width + 1, features)))

    def add(self, before: NDArray[np.float64], target: NDArray[np.float64]) -> None:
        """Take in rows: inputs (n, width + 1), the last of them 1, and targets (n, F)."""
        self.gram += before.T @ before
        self.cross += before.T @ target
        self.square += float((target * target).sum())
        self.used += len(target)

    def without(self, other: _Sums) -> _Sums:
        """Of the rows that the other ones are not among."""
        gram, cross = self.gram - other.gram, self.cross - other.cross
        return _Sums(gram, cross, self.square - other.square, self.used - other.used)

    def solution(self, factor: float) -> NDArray[np.float64]:
        """Coefficients (width + 1, F); nothing is taken off the intercept, the last of them."""
        penalty = np.full(len(self.gram), factor * _least_penalty(self.used))
        penalty[-1] = 1e-9 * max(self.used, 1)
        return np.asarray(np.linalg.solve(self.gram + np.diag(penalty), self.cross), np.float64)

    def error(self, solution: NDArray[np.float64]) -> float:
        """Sum of squares that these coefficients leave of these rows."""
        return self.square + float((solution * (self.gram @ solution - 2 * self.cross)).sum())


def fit_ridge(series: Series, lags: int, gap: int = 0) -> _Law:
    """Regression of each row on ``lags`` rows, the newest of which lies ``gap + 1`` rows back.

    Uses at most 200,000 rows, evenly spread. The penalty is 10 max(1, rows / 20,000) times the one of FACTORS that
    forecasts each quarter of the rows best from the other three. Rows are in the order of entities and time, so with
    many entities a quarter is entities left out: what holds for some machines only is held down.
    """
    features = series[0].shape[1]
    width = lags * features
    limit = min(ROWS_MAX, int(GRAM_WORK_MAX / width**2))
    first = min(lags + gap, _shortest(series) - 1)
    total = min(limit, sum(max(len(rows) - first, 0) for rows in series))
    count = _QUARTERS if width <= _CHOICE_WIDTH_MAX else 1
    parts = [_Sums.empty(width, features) for _ in range(count)]
    ends = total * np.arange(1, count) // count
    seen = 0
    for rows, at in spread_evenly(series, first=first, limit=limit):
        for part, own in zip(parts, np.split(at, np.clip(ends - seen, 0, len(at))), strict=True):
            before = windows_of(rows, lags, own - 1 - gap).reshape(len(own), width).astype(np.float64)
            part.add(np.concatenate([before, np.ones((len(own), 1))], axis=1), rows[own].astype(np.float64))
        seen += len(at)
    whole = _whole(parts)
    solution = whole.solution(_chosen(parts, whole))
    return solution[:-1], solution[-1]


def _whole(parts: Sequence[_Sums]) -> _Sums:
    gram, cross = sum(part.gram for part in parts), sum(part.cross for part in parts)
    return _Sums(
        np.asarray(gram), np.asarray(cross), sum(part.square for part in parts), sum(p.used for p in parts)
    )


def _chosen(parts: Sequence[_Sums], whole: _Sums) -> float:
    """The penalty under which the parts are forecast best from each other; the least one where there is but one."""
    if len(parts) == 1:
        return FACTORS[0]
    others = [whole.without(part) for part in parts]
    left = [
        sum(part.error(other.solution(factor)) for part, other in zip(parts, others, strict=True))
        for factor in FACTORS
    ]
    return FACTORS[int(np.argmin(left))]


def fit_own_ridge(series: Series, lags: int, gap: int = 0) -> _Law:
    """Regression of each feature on its own values in ``lags`` rows before, one for all entities; weights (lags, F)."""
    features = series[0].shape[1]
    gram = np.zeros((features, lags + 1, lags + 1))
    cross = np.zeros((features, lags + 1))
    used = 0
    for rows, at in spread_evenly(series, first=lags + gap, limit=ROWS_MAX // 10):
        before = windows_of(rows, lags, at - 1 - gap).transpose(2, 0, 1).astype(np.float64)
        before = np.concatenate([before, np.ones((features, len(at), 1))], axis=2)
        gram += before.transpose(0, 2, 1) @ before
        cross += np.einsum("fnl,nf->fl", before, rows[at].astype(np.float64))
        used += len(at)
    penalty = np.full(lags + 1, _least_penalty(used))
    penalty[-1] = 1e-9 * max(used, 1)
    solution = np.linalg.solve(gram + np.diag(penalty), cross[:, :, None])[:, :, 0]
    solved = np.asarray(solution, np.float64)
    return np.ascontiguousarray(solved[:, :-1].T), solved[:, -1]


def _least_penalty(used: int) -> float:
    return 10 * max(1.0, used / 20_000)


def _shortest(series: Series) -> int:
    return max(min(len(rows) for rows in series), 1)
