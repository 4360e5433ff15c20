"""The kernel that turns a model's errors into smoothed errors, score, anomaly and contributing features."""
# ruff: noqa: PLR0913, PLR0917  kernels take arrays one by one

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import kernel, kernel_part
from stream_infer.windows.ahead_kernel import AHEAD, expect
from stream_infer.windows.alert_kernel import NO_ALERT, alert_step
from stream_infer.windows.layout import NONE
from stream_infer.windows.profiles import Known
from stream_infer.windows.usual_kernel import square_by_own

__all__ = ["Judged", "judge_rows"]


F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Judged(NamedTuple):
    """What judge says of m rows.

    ``score``, ``threshold`` float64 (m), ``is_anomaly`` bool (m), ``top`` int32 and ``share`` float32 (m, TOP) are
    those of Scores. ``raw`` float64 (m, T): mean over features of the smoothed error, before the scale. ``finite``
    bool (m): False where the model's errors, or the score, were not; errors that are not finite leave the smoothed
    ones as they were. ``alert`` uint8 (m): where the row stands to an alert (alert_kernel).
    """

    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    top: NDArray[np.int32]
    share: NDArray[np.float32]
    raw: NDArray[np.float64]
    finite: NDArray[np.bool_]
    alert: NDArray[np.uint8]


@kernel_part
def _square(errors: F32, inverse_sd: F64, bound: float, e: F64) -> bool:
    """Write min((error / sd)^2, bound) to ``e``; says whether all errors are finite."""
    poison = 0
    for f in range(len(errors)):
        relative = errors[f] * inverse_sd[f]
        square = relative * relative
        e[f] = bound if square > bound else square
        poison += not abs(errors[f]) < np.inf
    return poison == 0


@kernel_part
def _smooth(smoothed: F32, e: F64, rate: float) -> float:
    """Move the smoothed errors towards ``e`` and return their sum, made in a fixed order of four lanes."""
    width = len(e)
    if math.isnan(smoothed[0]):
        for f in range(width):
            smoothed[f] = e[f]
    else:
        for f in range(width):
            s = np.float64(smoothed[f])
            smoothed[f] = s + rate * (e[f] - s)
    a = b = c = d = 0.0
    even = width & ~3
    for f in range(0, even, 4):
        a += float(smoothed[f])
        b += float(smoothed[f + 1])
        c += float(smoothed[f + 2])
        d += float(smoothed[f + 3])
    for f in range(even, width):
        a += float(smoothed[f])
    return (a + b) + (c + d)


@kernel_part
def _contributions(smoothed: F32, weight: F64, score: float, top: NDArray[np.int32], share: F32) -> None:
    """The features with the largest shares of the score, by insertion into a short sorted list."""
    terms, width = smoothed.shape
    for f in range(width):
        part = 0.0
        for t in range(terms):
            part += smoothed[t, f] * weight[t]
        own = np.float32(part / score) if score > 0 else np.float32(0)
        at = len(top)
        while at > 0 and own > share[at - 1]:
            at -= 1
        if at == len(top):
            continue
        for k in range(len(top) - 1, at, -1):
            top[k] = top[k - 1]
            share[k] = share[k - 1]
        top[at] = f
        share[at] = own


@kernel
def judge_rows(
    slots: NDArray[np.void],
    rows: NDArray[np.float32],
    known: Known,
    where: NDArray[np.int64],
    first: NDArray[np.bool_],
    errors: NDArray[np.float32],
    smoothing: NDArray[np.float64],
    clip: NDArray[np.float64],
    starts: tuple[int, int],
    release_ratio: float,
    release_rows: int,
    e: NDArray[np.float64],
    out: Judged,
) -> None:
    """Judge the rows strictly one after the other: each one's smoothed errors are the next one's start.

    ``starts``: where in a row the smoothed and the usual errors begin. ``e`` (T, F) is scratch.
    """
    terms, width = errors.shape[1:]
    smoothed_at, usual_at = starts
    fleet = len(known.threshold) - 1
    out.share[:] = 0
    out.top[:] = NONE
    values, row_length = rows.reshape(-1), rows.shape[1]
    for i in range(len(where)):
        if i + AHEAD < len(where):
            s = where[i + AHEAD]
            at = s * row_length + smoothed_at
            expect(slots, values, s, at, at + terms * width)
        slot = slots[where[i]]
        profile = slot.profile
        smoothed = rows[where[i], smoothed_at : smoothed_at + terms * width].reshape(terms, width)
        if first[i]:
            smoothed[:] = np.nan
            slot.alert = 0
        finite = True
        if profile == fleet:
            finite = square_by_own(errors[i], rows[where[i], usual_at:], first[i], known, clip, e)
        else:
            for t in range(terms):
                finite &= _square(errors[i, t], known.inverse_sd[profile, t], clip[t], e[t])
        out.finite[i] = finite
        out.threshold[i] = known.threshold[profile]
        out.is_anomaly[i] = False
        out.alert[i] = NO_ALERT
        out.score[i] = np.nan
        out.raw[i] = np.nan
        if not finite:
            continue
        score = 0.0
        for t in range(terms):
            total = _smooth(smoothed[t], e[t], smoothing[t])
            out.raw[i, t] = total / width
            score += total * known.weight[profile, t]
        out.score[i] = score
        out.finite[i] = math.isfinite(score)
        if not out.finite[i]:
            continue
        out.is_anomaly[i] = score >= out.threshold[i]
        out.alert[i], slot.alert = alert_step(
            slot.alert, score, out.threshold[i], release_ratio, release_rows
        )
        if out.is_anomaly[i]:
            _contributions(smoothed, known.weight[profile], score, out.top[i], out.share[i])
