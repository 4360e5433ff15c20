"""Kernels for the usual errors of an entity that training never saw: learnt from its own rows, one after the other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import kernel_part
from stream_infer.windows.profiles import Known
from stream_infer.windows.push_kernel import learning_rate

__all__ = ["square_by_own"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_COUNTED_ROWS = 10_000
_LARGEST = 1e38


@kernel_part
def square_by_own(errors: F32, own: F32, begins: bool, known: Known, clip: F64, e: F64) -> bool:  # noqa: FBT001
    """Write min((error / usual)^2, clip) to ``e`` (T, F), then learn from it; says whether all errors are finite.

    ``own`` (1 + T * F): how many rows the entity's usual errors are made of, and these; the fleet's where it has had
    none or its state ``begins``. A row whose errors are not finite teaches nothing.
    """
    terms, width = errors.shape
    usual = own[1:].reshape(terms, width)
    if begins or own[0] == 0:
        _begin(own, usual, known)
    poison = 0
    for t in range(terms):
        for f in range(width):
            error = errors[t, f] / max(np.float64(usual[t, f]), known.least_sd[t])
            e[t, f] = min(error * error, clip[t])
            poison += not abs(errors[t, f]) < np.inf
    if poison:
        return False
    _learn(usual, e, known.least_sd, learning_rate(int(own[0])))
    own[0] = min(own[0] + 1, _COUNTED_ROWS)
    return True


@kernel_part
def _begin(own: F32, usual: F32, known: Known) -> None:
    own[0] = 0
    fleet = known.inverse_sd[len(known.inverse_sd) - 1]
    for t in range(len(usual)):
        for f in range(usual.shape[1]):
            usual[t, f] = 1 / fleet[t, f]


@kernel_part
def _learn(usual: F32, e: F64, least: F64, rate: float) -> None:
    """Bring a row's errors into the root mean squares, clipped as the score has them: no single one may blind it."""
    for t in range(len(usual)):
        for f in range(usual.shape[1]):
            sd = np.float64(usual[t, f])
            square = e[t, f] * max(sd, least[t]) ** 2
            usual[t, f] = min(math.sqrt(sd * sd + rate * (square - sd * sd)), _LARGEST)
