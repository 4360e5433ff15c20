"""Measures of two classifiers and two scores, from counts. Each is a pure function of integers.

A measure that does not exist for the counts (nothing was counted, a class never occurs) is None.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.buckets import quantiles
from stream_infer.comparison.statistics import JOINT_SIDE

__all__ = [
    "average_precision",
    "kappa",
    "ks",
    "mcnemar",
    "precision_recall",
    "psi",
    "rank_correlation",
    "wilson",
]

_Z95: Final = 1.959963984540054
_Counts = NDArray[np.int64]
Counted = tuple[_Counts, _Counts]
"""Codes (ascending) and their counts."""


def wilson(hits: int, count: int, z: float = _Z95) -> tuple[float, float] | None:
    """Interval of a share (Wilson 1927, "Probable inference, the law of succession, and statistical inference").

    It describes ``count`` independent draws looked at once: for a decision while looking again and again see
    ``sequential``.
    """
    if not count:
        return None
    share, weight = hits / count, z * z / count
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    # The share itself is in it, whatever rounding says.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def kappa(flips: _Counts) -> float | None:
    """Cohen's kappa (1960) of the 2 x 2 matrix of verdicts: agreement beyond that of two coins of the same rates."""
    total = int(flips.sum())
    if not total:
        return None
    observed = float(np.trace(flips)) / total
    expected = float(flips.sum(axis=0) @ flips.sum(axis=1)) / total**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def psi(reference: Counted, other: Counted, bins: int = 10) -> float | None:
    """Population stability index over bins of equal shares of the reference.

    The sum over bins of (other - reference) * log(other / reference), shares with half a count added to each bin so
    that empty ones have a logarithm. Usual reading: below 0.1 alike, over 0.25 different.
    """
    if not reference[1].sum() or not other[1].sum():
        return None
    shares = np.arange(1, bins) / bins
    ranks = np.floor(shares * (reference[1].sum() - 1)).astype(np.int64)
    edges = np.unique(reference[0][np.searchsorted(np.cumsum(reference[1]), ranks, side="right")])
    parts = []
    for codes, counts in (reference, other):
        binned = np.bincount(np.searchsorted(edges, codes), counts, minlength=len(edges) + 1) + 0.5
        parts.append(binned / binned.sum())
    return float(np.sum((parts[1] - parts[0]) * np.log(parts[1] / parts[0])))


def ks(one: Counted, other: Counted) -> float | None:
    """Kolmogorov-Smirnov distance: the greatest difference of the two cumulated shares, at the edges of buckets."""
    if not one[1].sum() or not other[1].sum():
        return None
    codes = np.union1d(one[0], other[0])
    cumulated = []
    for own, counts in (one, other):
        aligned = np.zeros(len(codes))
        aligned[np.searchsorted(codes, own)] = counts
        cumulated.append(np.cumsum(aligned) / counts.sum())
    return float(np.abs(cumulated[0] - cumulated[1]).max())


def rank_correlation(joint: Counted) -> float | None:
    """Spearman's rank correlation (midranks for ties) of two values counted together, as ``Kind.JOINT`` does."""
    codes, counts = joint
    total = int(counts.sum())
    if total < 2:
        return None
    centred = []
    for side in (codes // JOINT_SIDE, codes % JOINT_SIDE):
        of_bucket = np.bincount(side, counts, minlength=JOINT_SIDE)
        midrank = np.cumsum(of_bucket) - of_bucket / 2
        centred.append(midrank[side] - total / 2)
    spread = math.sqrt(float(counts @ centred[0] ** 2) * float(counts @ centred[1] ** 2))
    return float(counts @ (centred[0] * centred[1])) / spread if spread > 0 else None


def precision_recall(found: int, false: int, missed: int) -> tuple[float | None, float | None]:
    """Precision and recall of one classifier."""
    precision = found / (found + false) if found + false else None
    return precision, found / (found + missed) if found + missed else None


def average_precision(normal: Counted, anomaly: Counted) -> float | None:
    """Area under precision and recall, events in one bucket as ties: the sum of precision times the gain in recall."""
    positives = int(anomaly[1].sum())
    if not positives:
        return None
    codes = np.union1d(normal[0], anomaly[0])[::-1]
    found, false = np.zeros(len(codes)), np.zeros(len(codes))
    found[len(codes) - 1 - np.searchsorted(codes[::-1], anomaly[0])] = anomaly[1]
    false[len(codes) - 1 - np.searchsorted(codes[::-1], normal[0])] = normal[1]
    hits, all_over = np.cumsum(found), np.cumsum(found + false)
    return float(found @ (hits / all_over)) / positives


def mcnemar(only_primary: int, only_shadow: int) -> float | None:
    """Exact two-sided p-value of McNemar's test (1947): of ``n`` events that one alone got right, as uneven as these.

    It takes events for independent and is for one look; the verdict uses ``sequential`` on blocks instead.
    """
    count, less = only_primary + only_shadow, min(only_primary, only_shadow)
    if not count:
        return None
    logs = [_log_choose(count, number) - count * math.log(2) for number in range(less + 1)]
    top = max(logs)
    return min(1.0, 2 * math.exp(top) * math.fsum(math.exp(one - top) for one in logs))


def share_quantiles(counted: Counted, shares: tuple[float, ...]) -> list[float | None]:
    """Quantiles of counted buckets; None for each where nothing was counted."""
    found = quantiles(*counted, np.array(shares))
    return [None if math.isnan(value) else value for value in found.tolist()]


def _log_choose(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
