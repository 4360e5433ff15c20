"""Kernels that take records out of librdkafka: from an array of message addresses to columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.native.foreign import (
    call_int,
    call_long,
    copy_bytes,
    load_byte,
    load_int,
    load_long,
)
from stream_infer.delivery.native.library import Calls
from stream_infer.delivery.native.message import (
    ERROR,
    KEY,
    KEY_LENGTH,
    LENGTH,
    OFFSET,
    PARTITION,
    PAYLOAD,
)
from stream_infer.kernel import kernel, kernel_part

__all__ = [
    "RecordColumns",
    "copy_headers",
    "copy_records",
    "destroy",
    "is_bare",
    "measure",
    "measure_headers",
    "receive",
]

_FOUND = 0


class RecordColumns(NamedTuple):
    """The columns of a Batch; ``ends`` and ``key_ends`` are filled beforehand."""

    payload: NDArray[np.uint8]
    ends: NDArray[np.int64]
    null: NDArray[np.bool_]
    key: NDArray[np.uint8]
    key_ends: NDArray[np.int64]
    key_null: NDArray[np.bool_]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]


@kernel
def receive(calls: Calls, queue: int, waits_ms: tuple[int, int], messages: NDArray[np.int64]) -> int:
    """Take as many messages as fit; waits are for the first one, and for the others. Returns how many came."""
    here, room = messages.ctypes.data, len(messages)
    # A call returns when the array is full or the time is over: so the first one waits for one message alone.
    if call_long(calls.consume_batch_queue, (queue, waits_ms[0], here, 1)) < 1:
        return 0
    if room == 1:
        return 1
    others = call_long(calls.consume_batch_queue, (queue, waits_ms[1], here + 8, room - 1))
    return 1 + int(max(0, others))


@kernel_part
def is_bare(payload: int, length: int) -> bool:
    """Whether a record is seen to have no headers; librdkafka would allocate memory to say so.

    A value lies in the bytes that were fetched: before it its length, as a zigzag varint, behind it the number of
    headers. Only where that length is found is anything behind it read: in records of the older formats, which end with
    their value, it has four bytes instead, and those never look the same. An empty value lies elsewhere.
    """
    if length <= 0:
        return False
    rest, size = 2 * length, 1
    while rest >> (7 * size) != 0:
        size += 1
    for group in range(size):
        more = 128 if group < size - 1 else 0
        if load_byte(payload - size + group) != (rest >> (7 * group)) & 127 | more:
            return False
    return bool(load_byte(payload + length) == 0)


@kernel
def measure(
    calls: Calls,
    messages: NDArray[np.int64],
    ends: NDArray[np.int64],
    key_ends: NDArray[np.int64],
    error: NDArray[np.int32],
    header_count: NDArray[np.int64],
    scratch: NDArray[np.int64],
) -> None:
    """Where values and keys will end, the error of each message (0 for a record), and how many headers it has."""
    value_end = key_end = np.int64(0)
    for row in range(len(messages)):
        message = messages[row]
        error[row] = load_int(message + ERROR)
        header_count[row] = 0
        if error[row] == 0:
            length = load_long(message + LENGTH)
            value_end += length
            key_end += load_long(message + KEY_LENGTH)
            bare = is_bare(load_long(message + PAYLOAD), length)
            if not bare and call_int(calls.message_headers, (message, scratch.ctypes.data)) == _FOUND:
                header_count[row] = call_long(calls.header_cnt, (scratch[0],))
        ends[row] = value_end
        key_ends[row] = key_end


@kernel
def copy_records(
    calls: Calls,
    messages: NDArray[np.int64],
    columns: RecordColumns,
) -> None:
    """Copy records into columns that ``measure`` measured."""
    value_at = key_at = np.int64(0)
    for row in range(len(messages)):
        message = messages[row]
        source, key_source = load_long(message + PAYLOAD), load_long(message + KEY)
        end, key_end = columns.ends[row], columns.key_ends[row]
        copy_bytes(columns.payload.ctypes.data + value_at, source, end - value_at)
        copy_bytes(columns.key.ctypes.data + key_at, key_source, key_end - key_at)
        value_at, key_at = end, key_end
        columns.null[row] = source == 0
        columns.key_null[row] = key_source == 0
        columns.partition[row] = load_int(message + PARTITION)
        columns.offset[row] = load_long(message + OFFSET)
        columns.timestamp_ms[row] = call_long(calls.message_timestamp, (message, 0))


@kernel
def destroy(calls: Calls, messages: NDArray[np.int64]) -> None:
    """Give messages back to librdkafka: each exactly once."""
    for row in range(len(messages)):
        call_int(calls.message_destroy, (messages[row],))


@kernel_part
def _header(calls: Calls, scratch: NDArray[np.int64], number: Any) -> None:
    """Put the addresses of a header's name and value, and the value's length, behind the list's address."""
    at = scratch.ctypes.data
    call_int(calls.header_get_all, (scratch[0], number, at + 8, at + 16, at + 24))


@kernel
def measure_headers(
    calls: Calls,
    messages: NDArray[np.int64],
    ends: NDArray[np.int64],
    name_ends: NDArray[np.int64],
    value_ends: NDArray[np.int64],
    null: NDArray[np.bool_],
    scratch: NDArray[np.int64],
) -> None:
    """Where names and values of all headers will end; ``ends`` says where each record's headers do."""
    entry = name_end = value_end = np.int64(0)
    for row in range(len(messages)):
        first = entry
        if ends[row] > first:
            call_int(calls.message_headers, (messages[row], scratch.ctypes.data))
        while entry < ends[row]:
            _header(calls, scratch, entry - first)
            length = 0
            while load_byte(scratch[1] + length) != 0:
                length += 1
            name_end += length
            value_end += scratch[3]
            null[entry] = scratch[2] == 0
            name_ends[entry], value_ends[entry] = name_end, value_end
            entry += 1


@kernel
def copy_headers(
    calls: Calls,
    messages: NDArray[np.int64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    name_ends: NDArray[np.int64],
    values: NDArray[np.uint8],
    value_ends: NDArray[np.int64],
    scratch: NDArray[np.int64],
) -> None:
    """Copy headers into columns that ``measure_headers`` measured."""
    entry = name_at = value_at = np.int64(0)
    for row in range(len(messages)):
        first = entry
        if ends[row] > first:
            call_int(calls.message_headers, (messages[row], scratch.ctypes.data))
        while entry < ends[row]:
            _header(calls, scratch, entry - first)
            copy_bytes(names.ctypes.data + name_at, scratch[1], name_ends[entry] - name_at)
            copy_bytes(values.ctypes.data + value_at, scratch[2], value_ends[entry] - value_at)
            name_at, value_at = name_ends[entry], value_ends[entry]
            entry += 1
