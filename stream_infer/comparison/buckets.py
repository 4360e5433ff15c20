"""Logarithmic buckets: a quantile sketch that is a plain count per bucket.

The sketch of Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees" (VLDB 2019), with the range of the buckets fixed beforehand, so that none is ever collapsed: at most
``2 * LARGEST + 1`` buckets, whatever comes. Counts per bucket do not depend on the order of the values, nor on how they
were split and merged: what is computed live, after any number of restarts, is exactly what is computed of a file.
Randomised (KLL) and order-dependent sketches (t-digest) cannot say that.

A quantile is within ``ACCURACY`` of a true one of the same rank, relatively; values closer to zero than ``SMALLEST``
count as zero, those beyond ``GREATEST`` as that.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACCURACY", "GREATEST", "LARGEST", "SMALLEST", "bucket_of", "quantiles", "value_of"]

ACCURACY: Final = 0.01
SMALLEST: Final = 1e-9
GREATEST: Final = 1e9

_LOG_GAMMA: Final = math.log((1 + ACCURACY) / (1 - ACCURACY))
_FIRST: Final = math.ceil(math.log(SMALLEST) / _LOG_GAMMA)
LARGEST: Final = math.ceil(math.log(GREATEST) / _LOG_GAMMA) - _FIRST + 1
"""Number of the bucket of ``GREATEST``; that of ``-GREATEST`` is its negative, that of zero is 0."""

_Ints = NDArray[np.int64]


def bucket_of(values: NDArray[np.float64]) -> _Ints:
    """Number of the bucket of each value, rising with the value. None may be NaN."""
    size = np.clip(np.abs(values), SMALLEST, GREATEST)
    number = np.ceil(np.log(size) / _LOG_GAMMA).astype(np.int64) - _FIRST + 1
    number = np.where(np.abs(values) < SMALLEST, 0, number)
    return np.where(values < 0, -number, number)


def value_of(buckets: _Ints) -> NDArray[np.float64]:
    """Return the value that stands for each bucket: none of its values is farther away than ``ACCURACY``."""
    size = np.exp((np.abs(buckets) - 1 + _FIRST) * _LOG_GAMMA) * (1 - ACCURACY)
    return np.where(buckets == 0, 0.0, np.sign(buckets) * size)


def quantiles(buckets: _Ints, counts: _Ints, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles (lower ones: the value of rank ``floor(share * (n - 1))``) of counted buckets; NaN where all is empty.

    ``buckets`` ascend.
    """
    total = int(counts.sum())
    if not total:
        return np.full(len(shares), np.nan)
    ranks = np.floor(np.asarray(shares) * (total - 1)).astype(np.int64)
    return value_of(buckets[np.searchsorted(np.cumsum(counts), ranks, side="right")])
