"""Kernels that make the records of rejects: one pass over the rejects of a batch, no object for each."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.header_arrays import HeaderArrays
from stream_infer.kernel import kernel, kernel_part

__all__ = ["INTEGER_BYTES", "Shared", "make_headers", "read_schema_ids", "take_bytes"]

INTEGER_BYTES: Final = 20
"""The longest 64-bit integer in decimal."""

_FRAME_BYTES: Final = 5
_NUMBERS: Final = 4  # partition, offset, time, schema id
_SCHEMA_ID: Final = 3

_MINUS, _ZERO = 45, 48  # in ASCII


class Shared(NamedTuple):
    """What many rejects say.

    ``heads`` is what the JSON object begins with, for each fault; ``labels`` what goes before each of the four numbers,
    and what ends it. ``name`` is that of our header, ``prefix`` what names of ours begin with.
    """

    heads: NDArray[np.uint8]
    head_ends: NDArray[np.int64]
    labels: NDArray[np.uint8]
    label_ends: NDArray[np.int64]
    name: NDArray[np.uint8]
    prefix: NDArray[np.uint8]


@kernel
def make_headers(
    rows: NDArray[np.int64],
    fault: NDArray[np.int64],
    numbers: NDArray[np.int64],
    own: HeaderArrays,
    shared: Shared,
    made: HeaderArrays,
) -> tuple[int, int, int]:
    """The headers of each reject: the record's ``own`` but for those of our prefix, then ours.

    ``numbers`` (m, 4) are partition, offset, time and schema id (-1: none). ``made`` must have room for all.
    Returns how many headers there are, and how many bytes their names and values have.
    """
    entry, name_at, value_at = 0, 0, 0
    for i in range(len(rows)):
        entry, name_at, value_at = _keep(own, rows[i], shared.prefix, made, entry, name_at, value_at)
        _copy(made.names, name_at, shared.name, 0, len(shared.name))
        name_at += len(shared.name)
        value_at = _append(made.values, value_at, shared.heads, shared.head_ends, fault[i])
        for field in range(_NUMBERS):
            if field != _SCHEMA_ID or numbers[i, field] >= 0:
                value_at = _append(made.values, value_at, shared.labels, shared.label_ends, field)
                value_at = _append_number(made.values, value_at, numbers[i, field])
        value_at = _append(made.values, value_at, shared.labels, shared.label_ends, _NUMBERS)
        made.name_ends[entry], made.value_ends[entry], made.null[entry] = name_at, value_at, False
        entry += 1
        made.ends[i] = entry
    return entry, name_at, value_at


@kernel_part
def _keep(
    own: HeaderArrays,
    row: int,
    prefix: NDArray[np.uint8],
    made: HeaderArrays,
    entry: int,
    name_at: int,
    value_at: int,
) -> tuple[int, int, int]:
    """Copy those headers of a row whose names do not begin with the prefix."""
    if len(own.ends) == 0:
        return entry, name_at, value_at
    for number in range(own.ends[row - 1] if row > 0 else 0, own.ends[row]):
        start = own.name_ends[number - 1] if number > 0 else 0
        if _begins(own.names, start, own.name_ends[number], prefix):
            continue
        name_at = _append(made.names, name_at, own.names, own.name_ends, number)
        value_at = _append(made.values, value_at, own.values, own.value_ends, number)
        made.name_ends[entry], made.value_ends[entry] = name_at, value_at
        made.null[entry] = own.null[number]
        entry += 1
    return entry, name_at, value_at


@kernel_part
def _begins(data: NDArray[np.uint8], start: int, end: int, prefix: NDArray[np.uint8]) -> bool:
    same = 0
    while same < len(prefix) and start + same < end and data[start + same] == prefix[same]:
        same += 1
    return same == len(prefix)


@kernel_part
def _append(
    target: NDArray[np.uint8], at: int, data: NDArray[np.uint8], ends: NDArray[np.int64], number: int
) -> int:
    """Copy one byte string of a column; returns where it ends."""
    start = int(ends[number - 1]) if number > 0 else 0
    length = int(ends[number]) - start
    _copy(target, at, data, start, length)
    return at + length


@kernel_part
def _copy(target: NDArray[np.uint8], at: int, data: NDArray[np.uint8], start: int, length: int) -> None:
    """Copy bytes. What is unsigned cannot count from the end, so that the loop becomes vector code."""
    to, source = np.uint64(at), np.uint64(start)
    for i in range(np.uint64(length)):
        target[to + i] = data[source + i]


@kernel_part
def _append_number(target: NDArray[np.uint8], at: int, number: int) -> int:
    """Write an integer in decimal; returns where it ends."""
    ten, rest = np.uint64(10), np.uint64(number)
    if number < 0:
        target[at] = _MINUS
        at += 1
        rest = np.uint64(-(number + 1)) + np.uint64(1)  # -2^63 has no positive counterpart
    end, more = at + 1, rest // ten
    while more > np.uint64(0):
        more //= ten
        end += 1
    for place in range(end - 1, at - 1, -1):
        target[place] = np.uint8(rest % ten) + _ZERO
        rest //= ten
    return end


@kernel
def read_schema_ids(
    payload: NDArray[np.uint8], ends: NDArray[np.int64], rows: NDArray[np.int64], ids: NDArray[np.int64]
) -> None:
    """The schema ids that payloads begin with (a zero byte, then the id in four), -1 where one does not."""
    for i in range(len(rows)):
        start = ends[rows[i] - 1] if rows[i] > 0 else 0
        ids[i] = -1
        if ends[rows[i]] - start >= _FRAME_BYTES and payload[start] == 0:
            ids[i] = 0
            for byte in range(start + 1, start + _FRAME_BYTES):
                ids[i] = (ids[i] << 8) | np.int64(payload[byte])


@kernel
def take_bytes(
    data: NDArray[np.uint8], starts: NDArray[np.int64], target: NDArray[np.uint8], ends: NDArray[np.int64]
) -> None:
    """Copy byte strings end to end: string i begins at ``starts[i]`` and is to end at ``ends[i]`` of ``target``."""
    at = 0
    for i in range(len(starts)):
        _copy(target, at, data, starts[i], ends[i] - at)
        at = ends[i]
