"""Kernels that bring rows into the state: dirty queue, standardisation, running statistics, ring, window."""
# ruff: noqa: FBT001, PLR0913, PLR0917  kernels take arrays one by one, and flags by place

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.intrinsics import prefetch
from stream_infer.kernel import kernel, kernel_part
from stream_infer.windows.ahead_kernel import AHEAD, expect
from stream_infer.windows.layout import NONE, RUNNING
from stream_infer.windows.profiles import Known
from stream_infer.windows.undo_kernels import Kept, keep, keep_slot

__all__ = [
    "IN_ORDER",
    "LATE",
    "MISSING",
    "REPEATED",
    "Pushed",
    "State",
    "learning_rate",
    "push_rows",
    "push_scratch",
    "take_dirty",
    "unfit_feature",
]

IN_ORDER, LATE, REPEATED = range(3)
"""Where a row's time stands to the entity's newest time."""

MISSING, INFINITE = 1, 2
"""What is wrong with a feature."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_PRIOR_ROWS = 100
_SLOWEST_RATE = 1e-4
_LARGEST = 1e38
_FINITE = 1.7976931348623157e308
_LANES = 8
_LN2 = 0.6931471805599453


class State(NamedTuple):
    """The arrays of an EntityTable: SLOT records, rows, head and tail of each partition's dirty queue, undo log."""

    slots: NDArray[np.void]
    rows: NDArray[np.float32]
    queues: NDArray[np.int32]
    kept: Kept


class Pushed(NamedTuple):
    """What push says of m rows.

    ``windows`` float32 (m, W, F), oldest row first. ``window_full`` bool (m): it holds W rows of the entity.
    ``time_order`` uint8 (m). ``first`` bool (m): the entity's state begins with this row; judge wants it back.
    """

    windows: NDArray[np.float32]
    window_full: NDArray[np.bool_]
    time_order: NDArray[np.uint8]
    first: NDArray[np.bool_]


def push_scratch(width: int) -> NDArray[np.float64]:
    """Room for three rows of ``width`` features, rounded up to whole vectors and filled with zeros."""
    return np.zeros((3, (width + _LANES - 1) // _LANES * _LANES))


@kernel
def unfit_feature(
    features: NDArray[np.float64], impute: bool, column: NDArray[np.int64], kind: NDArray[np.uint8]
) -> int:
    """Write each row's first unfit feature to ``column`` (NONE if all are fit) and what is wrong to ``kind``.

    Returns how many rows have one.
    """
    unfit = 0
    for i in range(len(features)):
        column[i] = NONE
        poison = 0
        for x in features[i]:
            poison += not abs(x) <= _FINITE
        if not poison:
            continue
        for f in range(features.shape[1]):
            x = features[i, f]
            if math.isinf(x) or (math.isnan(x) and not impute):
                column[i] = f
                kind[i] = INFINITE if math.isinf(x) else MISSING
                unfit += 1
                break
    return unfit


@kernel_part
def _mark_dirty(state: State, s: int, partition: int, offset: int) -> None:
    slot = state.slots[s]
    if slot.dirty_since != NONE:
        return
    slot.dirty_since = offset
    slot.next = NONE
    queue = state.queues[partition]
    if queue[0] == NONE:
        queue[0] = s
    else:
        state.slots[queue[1]].next = s
    queue[1] = s


@kernel
def take_dirty(
    state: State, partition: int, position: int, before_offset: int, numbers: NDArray[np.int64]
) -> int:
    """Move slots from the head of a partition's dirty queue to ``numbers`` while they are dirty since before an offset.

    Each is clean then, as of ``position``. Returns how many.
    """
    queue = state.queues[partition]
    n = 0
    while n < len(numbers) and queue[0] != NONE and state.slots[queue[0]].dirty_since < before_offset:
        numbers[n] = queue[0]
        keep_slot(state.kept, state.slots, numbers[n])
        slot = state.slots[queue[0]]
        queue[0] = slot.next
        slot.next = NONE
        slot.dirty_since = NONE
        slot.as_of = position
        n += 1
    if queue[0] == NONE:
        queue[1] = NONE
    return n


@kernel_part
def _asinh5(y: float) -> float:
    """5 asinh(y) to 1e-12, in operations that a compiler turns into vector code and that every machine rounds alike.

    asinh(y) = log(|y| + sqrt(y^2 + 1)); log m = 2 atanh((m - 1) / (m + 1)) for the mantissa m in [sqrt 1/2, sqrt 2).
    |y| is held to 1e300.
    """
    size = abs(y)
    size = 1e300 if size > 1e300 else size
    square = size if size < 1e9 else 1e9
    a = size + (math.sqrt(square * square + 1.0) if size < 1e9 else size)
    bits = np.float64(a).view(np.int64)
    # the exponent as a float: put into the low bits of 2^52, then 2^52 and the bias taken off
    exponent = np.int64((bits >> 52) | 0x4330000000000000).view(np.float64) - 4503599627371519.0
    mantissa = np.int64((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).view(np.float64)
    large = mantissa > 1.4142135623730951
    mantissa = mantissa * 0.5 if large else mantissa
    exponent = exponent + 1.0 if large else exponent
    s = (mantissa - 1.0) / (mantissa + 1.0)
    q = s * s
    series = 1 + q * (
        1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15))))))
    )
    return math.copysign(5.0 * (exponent * _LN2 + 2.0 * s * series), y)


@kernel_part
def _begin_running(running: F32, center: F64, spread: F64) -> None:
    """The fleet's statistics, and no least and greatest value yet."""
    for f in range(len(center)):
        mean = np.float32(center[f])
        running[0, f] = mean
        running[1, f] = np.float32(center[f] - np.float64(mean))
        running[2, f] = np.float32(spread[f])
        running[3, f] = np.float32(np.inf)
        running[4, f] = np.float32(-np.inf)


@kernel_part
def _running_profile(running: F32, spread: F64, center: F64, inverse: F64) -> None:
    """Centre and 1 / (5 spread) of an entity that training never saw; the floor of the spread is training's."""
    for f in range(len(spread)):
        center[f] = np.float64(running[0, f]) + np.float64(running[1, f])
        extent = np.float64(running[4, f]) - np.float64(running[3, f])
        floor = min(spread[f], 0.5 * extent) if extent > 0 else spread[f]
        own = np.float64(running[2, f]) if extent > 0 else 0.0
        inverse[f] = 1 / (5 * max(own, floor))


@kernel_part
def learning_rate(count: int) -> float:
    """What the next of ``count`` rows counts: the fleet's statistics as 100 rows, and old rows fade after 10,000."""
    return max(1 / (count + 1 + _PRIOR_ROWS), _SLOWEST_RATE)


@kernel_part
def _learn(running: F32, x: F64, count: int) -> None:
    """Bring one raw row into the running statistics."""
    rate = learning_rate(count)
    for f in range(len(x)):
        if math.isnan(x[f]):
            continue
        value = min(max(x[f], -_LARGEST), _LARGEST)
        mean = np.float64(running[0, f]) + np.float64(running[1, f])
        apart = value - mean
        sd = np.float64(running[2, f])
        mean += rate * apart
        running[0, f] = np.float32(mean)
        running[1, f] = np.float32(mean - np.float64(running[0, f]))
        running[2, f] = np.float32(math.sqrt((1 - rate) * (sd * sd + rate * apart * apart)))
        running[3, f] = min(running[3, f], np.float32(value))
        running[4, f] = max(running[4, f], np.float32(value))


@kernel_part
def _standardise(x: F64, center: F64, inverse: F64, scratch: F64, z: F32) -> bool:
    """Write 5 asinh((x - center) / (5 spread)) to ``z``; says whether the row is complete.

    ``scratch`` is F rounded up to whole vectors, so that no value goes through the slow rest of a vector loop.
    """
    absent = 0
    for f in range(len(x)):
        scratch[f] = (x[f] - center[f]) * inverse[f]
        absent += x[f] != x[f]
    for f in range(len(scratch)):
        scratch[f] = _asinh5(scratch[f])
    for f in range(len(x)):
        z[f] = scratch[f]
    return absent == 0


@kernel_part
def _impute(x: F64, z: F32, ring: F32, count: int) -> None:
    for f in range(len(x)):
        if math.isnan(x[f]):
            z[f] = ring[(count - 1) % len(ring), f] if count > 0 else np.float32(0)


@kernel_part
def _copy(row: F32, to: F32) -> None:
    for f in range(len(row)):
        to[f] = row[f]


@kernel_part
def _window(ring: F32, count: int, window: F32) -> None:
    """Copy the ring to a window, oldest row first, and the window's newest row into the ring."""
    ring_rows, last = len(ring), len(window) - 1
    at = count % ring_rows
    if count == 0:
        for r in range(ring_rows):
            _copy(window[last], ring[r])
    for r in range(last):
        # the oldest row is the one that comes next to be written over
        _copy(ring[at + r if at + r < ring_rows else at + r - ring_rows], window[r])
    _copy(window[last], ring[at])


@kernel_part
def _arrive(slot: Any, time_ms: int, idle_ttl_ms: int) -> int:
    """Set the entity's newest time; begin its state anew after a long silence. Returns the row's time order."""
    if slot.count and idle_ttl_ms > 0 and time_ms - slot.last_time_ms > idle_ttl_ms:
        slot.count = 0
    if slot.count == 0 or time_ms > slot.last_time_ms:
        slot.last_time_ms = time_ms
        return IN_ORDER
    return REPEATED if time_ms == slot.last_time_ms else LATE


@kernel
def push_rows(
    state: State,
    known: Known,
    where: NDArray[np.int64],
    features: NDArray[np.float64],
    time_ms: NDArray[np.int64],
    partition: NDArray[np.int32],
    offset: NDArray[np.int64],
    idle_ttl_ms: int,
    running_at: int,
    scratch: NDArray[np.float64],
    out: Pushed,
) -> None:
    """Take the rows in, strictly one after the other, and write their windows; ``scratch`` is of push_scratch."""
    size, width = out.windows.shape[1:]
    ring_rows, fleet = max(size - 1, 1), len(known.center) - 1
    standardised, center, inverse = scratch[0], scratch[1], scratch[2]
    values, row_length = state.rows.reshape(-1), state.rows.shape[1]
    for i in range(len(where)):
        if i + AHEAD < len(where):
            s = where[i + AHEAD]
            prefetch(state.kept.entry_of, s)
            expect(state.slots, values, s, s * row_length, (s + 1) * row_length)
        unseen = state.slots[where[i]].profile == fleet
        keep(state.kept, state.slots, state.rows, where[i], row_length if unseen else running_at)
        _mark_dirty(state, where[i], partition[i], offset[i])
        slot, row, x = state.slots[where[i]], state.rows[where[i]], features[i]
        ring = row[: ring_rows * width].reshape(ring_rows, width)
        out.time_order[i] = _arrive(slot, time_ms[i], idle_ttl_ms)
        count = slot.count
        newest = out.windows[i, size - 1]
        if unseen:
            running = row[running_at : running_at + RUNNING * width].reshape(RUNNING, width)
            if count == 0:
                _begin_running(running, known.center[fleet], known.spread[fleet])
            _running_profile(running, known.spread[fleet], center, inverse)
            complete = _standardise(x, center, inverse, standardised, newest)
            _learn(running, x, count)
        else:
            complete = _standardise(
                x, known.center[slot.profile], known.inverse[slot.profile], standardised, newest
            )
        if not complete:
            _impute(x, newest, ring, count)
        _window(ring, count, out.windows[i])
        slot.count = count + 1
        out.window_full[i] = count + 1 >= size
        out.first[i] = count == 0
