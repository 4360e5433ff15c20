"""Measures of a score against labels: VUS-PR, AUC-PR and the events in a label.

VUS-PR is the volume under the precision-recall surface over all thresholds and label buffers of 0 to
``buffer`` rows (Paparrizos et al., VLDB 2022, in the form of their 2025 revision): 250 thresholds at equally
spaced score ranks, square-root ramps of half a buffer on both sides of every event, recall weighted with the
share of events that are touched. Point-adjusted measures are left out on purpose: a random score does well in
them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc_pr", "events", "vus_pr"]

_Floats = NDArray[np.float64]


def events(label: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last row (inclusive) of every run of positive labels."""
    edges = np.diff(np.r_[0, np.asarray(label) > 0, 0].astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def auc_pr(score: _Floats, label: NDArray[np.generic]) -> float:
    """Average precision: the sum over distinct scores of precision times the gain in recall.

    ``score`` higher = stranger; ``label`` > 0 = anomaly. Raises ValueError without an anomaly.
    """
    positive = np.asarray(label) > 0
    if not positive.any():
        raise ValueError("the labels hold no anomaly")
    order = np.argsort(-np.asarray(score, np.float64), kind="stable")
    ranked, hit = np.asarray(score, np.float64)[order], positive[order]
    last_of_ties = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]
    found = np.cumsum(hit)[last_of_ties]
    precision = found / (last_of_ties + 1)
    return float(np.dot(np.diff(found, prepend=0), precision) / found[-1])


def vus_pr(score: _Floats, label: NDArray[np.generic], buffer: int = 100, thresholds: int = 250) -> float:
    """VUS-PR of one series; O(rows * buffer). Raises ValueError without an anomaly in ``label``."""
    score = np.asarray(score, np.float64)
    positive = (np.asarray(label) > 0).astype(np.float64)
    starts, ends = events(positive)
    if len(starts) == 0:
        raise ValueError("the labels hold no anomaly")
    count = len(score)
    ranks = np.linspace(0, count - 1, thresholds).astype(np.int64)
    levels = -np.sort(-score)[ranks]
    # The first threshold, from the highest down, at which each row counts as an anomaly.
    level_of_row = np.searchsorted(-levels, -score, side="left")
    predicted = _up_to_level(level_of_row, None, thresholds)
    inside = _up_to_level(level_of_row, positive, thresholds)
    areas = []
    for width in range(buffer + 1):
        half = width // 2
        buffered = _with_ramps(positive, starts, ends, width)
        hits = _up_to_level(level_of_row, buffered, thresholds)
        touched = _share_touched(level_of_row, starts, ends, half, thresholds)
        positives = (2 * positive.sum() + hits - inside) / 2
        recall = np.minimum(hits / positives, 1) * touched
        areas.append(np.dot(np.diff(recall, prepend=0), hits / predicted))
    return float(np.mean(areas))


def _up_to_level(level_of_row: NDArray[np.int64], weights: _Floats | None, thresholds: int) -> _Floats:
    """For each threshold the (weighted) number of rows at or over it."""
    return np.cumsum(
        np.bincount(level_of_row, weights, minlength=thresholds + 1)[:thresholds], dtype=np.float64
    )


def _with_ramps(label: _Floats, starts: NDArray[np.int64], ends: NDArray[np.int64], width: int) -> _Floats:
    """The labels with a falling ramp of half of ``width`` rows on both sides of every event."""
    half = width // 2
    if half == 0:
        return label
    ramp = np.sqrt(1 - np.arange(1, half + 1) / width)
    buffered = label.copy()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        after = min(half, len(label) - 1 - end)
        buffered[end + 1 : end + 1 + after] += ramp[:after]
        before = min(half, start)
        buffered[start - before : start] += ramp[:before][::-1]
    return np.minimum(buffered, 1.0)


def _share_touched(
    level_of_row: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    half: int,
    thresholds: int,
) -> _Floats:
    """For each threshold the share of events (with buffers, overlapping ones as one) that hold a row over it."""
    apart = ends[:-1] + half < starts[1:] - half
    first_rows = np.maximum(starts[np.r_[True, apart]] - half, 0)
    last_rows = np.minimum(ends[np.r_[apart, True]] + half, len(level_of_row) - 1)
    levels = [
        level_of_row[first : last + 1].min()
        for first, last in zip(first_rows.tolist(), last_rows.tolist(), strict=True)
    ]
    return np.cumsum(np.bincount(levels, minlength=thresholds + 1)[:thresholds]) / len(levels)
