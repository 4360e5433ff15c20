"""Kernels that give records to librdkafka, and take its reports of what became of them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.native.foreign import call_int, call_long, load_byte, load_int, load_long
from stream_infer.delivery.native.library import Calls
from stream_infer.delivery.native.message import (
    ERROR,
    KEY,
    KEY_LENGTH,
    MESSAGE_WORDS,
    PARTITION,
    PAYLOAD,
    TOPIC,
)
from stream_infer.header_arrays import HeaderArrays
from stream_infer.kernel import kernel, kernel_part

__all__ = [
    "NAME_BYTES",
    "NONE_LEFT",
    "NOTHING_CAME",
    "QUEUE_FULL",
    "Records",
    "Reports",
    "order_by_partition",
    "produce",
    "produce_with_headers",
    "settle",
]

QUEUE_FULL: Final = -184
NONE_LEFT: Final = 0
NOTHING_CAME: Final = -1
NAME_BYTES: Final = 256

_COPY: Final = 2  # RD_KAFKA_MSG_F_COPY
_DELIVERY_REPORT: Final = 1  # RD_KAFKA_EVENT_DR
_WORD: Final = 8
_TAG_TOPIC, _TAG_PARTITION, _TAG_VALUE, _TAG_KEY, _TAG_FLAGS, _TAG_HEADERS = 2, 3, 4, 5, 7, 10


class Records(NamedTuple):
    """The columns of an Outgoing, each of one type. ``error`` (int32, m) takes what became of each record."""

    values: NDArray[np.uint8]
    ends: NDArray[np.int64]
    null: NDArray[np.bool_]
    keys: NDArray[np.uint8]
    key_ends: NDArray[np.int64]
    key_null: NDArray[np.bool_]
    rows: NDArray[np.int64]
    partition: NDArray[np.int32]
    error: NDArray[np.int32]


class Reports(NamedTuple):
    """What reports said: ``seen`` is [failed, code and partition of the first failure], ``topic`` its name."""

    seen: NDArray[np.int64]
    topic: NDArray[np.uint8]


@kernel
def order_by_partition(
    records: Records, chosen: NDArray[np.int64], starts: NDArray[np.int64], order: NDArray[np.int64]
) -> None:
    """Sort the chosen records by partition, stably: those of p are ``order[starts[p] : starts[p + 1]]`` then."""
    starts[:] = 0
    for number in chosen:
        starts[records.partition[number] + 2] += 1
    for at in range(2, len(starts)):
        starts[at] += starts[at - 1]
    for number in chosen:
        place = records.partition[number] + 1
        order[starts[place]] = number
        starts[place] += 1


@kernel
def produce(
    calls: Calls,
    topic: int,
    records: Records,
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
    messages: NDArray[np.int64],
) -> None:
    """Queue records in their order, a call for each partition; ``messages`` (m, words) is scratch."""
    for place in range(len(order)):
        number = order[place]
        row = records.rows[number]
        message = messages[place]
        message[ERROR // _WORD] = 0
        message[TOPIC // _WORD] = 0
        message[PARTITION // _WORD] = records.partition[number]
        _put(message, PAYLOAD // _WORD, records.values, records.ends, records.null, number)
        _put(message, KEY // _WORD, records.keys, records.key_ends, records.key_null, row)
        message[KEY_LENGTH // _WORD + 1] = 0
        message[KEY_LENGTH // _WORD + 2] = 0  # no opaque: confluent-kafka would take it for one of its own
    for partition in range(len(starts) - 2):
        first, end = starts[partition], starts[partition + 1]
        if end > first:
            here = messages.ctypes.data + first * MESSAGE_WORDS * _WORD
            call_int(calls.produce_batch, (topic, partition, _COPY, here, end - first))
    for place in range(len(order)):
        records.error[order[place]] = load_int(messages.ctypes.data + place * MESSAGE_WORDS * _WORD + ERROR)


@kernel_part
def _put(
    message: NDArray[np.int64],
    at: int,
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    null: NDArray[np.bool_],
    number: int,
) -> None:
    """Address and length of a byte string; an empty one has an address, a null one has none."""
    if null[number]:
        message[at] = 0
        message[at + 1] = 0
    else:
        start = ends[number - 1] if number > 0 else np.int64(0)
        message[at] = (data.ctypes.data if len(data) > 0 else ends.ctypes.data) + start
        message[at + 1] = ends[number] - start


@kernel
def produce_with_headers(
    calls: Calls,
    client: int,
    topic: int,
    records: Records,
    headers: HeaderArrays,
    passed: NDArray[np.bool_],
    order: NDArray[np.int64],
    words: NDArray[np.int64],
) -> None:
    """Queue records one by one, up to the first that finds the queue full; ``words`` is scratch for one.

    Of their headers only the ``passed`` ones are written.
    """
    full = False
    message = words[len(words) - MESSAGE_WORDS :]
    for number in order:
        records.error[number] = QUEUE_FULL
        if full:
            continue
        row = records.rows[number]
        _put(message, 0, records.values, records.ends, records.null, number)
        _put(message, 2, records.keys, records.key_ends, records.key_null, row)
        listed = _headers(calls, headers, passed, row)
        _argument(words, 0, _TAG_TOPIC, topic, 0)
        _argument(words, 1, _TAG_PARTITION, records.partition[number], 0)
        _argument(words, 2, _TAG_VALUE, message[0], message[1])
        _argument(words, 3, _TAG_KEY, message[2], message[3])
        _argument(words, 4, _TAG_FLAGS, _COPY, 0)
        _argument(words, 5, _TAG_HEADERS, listed, 0)
        error = call_long(calls.produceva, (client, words.ctypes.data, 6 if listed != 0 else 5))
        records.error[number] = 0
        if error != 0:
            records.error[number] = call_int(calls.error_code, (error,))
            call_int(calls.error_destroy, (error,))
            if listed != 0:
                call_int(calls.headers_destroy, (listed,))
        full = records.error[number] == QUEUE_FULL


@kernel_part
def _argument(words: NDArray[np.int64], number: int, tag: int, first: int, second: int) -> None:
    """One ``rd_kafka_vu_t``: a tag and what it stands for, in as much room as a message takes."""
    at = number * MESSAGE_WORDS
    words[at] = tag
    words[at + 1] = first
    words[at + 2] = second


@kernel_part
def _headers(calls: Calls, headers: HeaderArrays, passed: NDArray[np.bool_], row: int) -> Any:
    """A new list of the passed headers of a row, 0 where there are none."""
    entry = headers.ends[row - 1] if row > 0 else np.int64(0)
    listed = np.int64(0)
    while entry < headers.ends[row]:
        if passed[entry]:
            if listed == 0:
                listed = call_long(calls.headers_new, (headers.ends[row] - entry,))
            name_at = headers.name_ends[entry - 1] if entry > 0 else np.int64(0)
            value_at = headers.value_ends[entry - 1] if entry > 0 else np.int64(0)
            # An empty value needs an address too; that of the ends is as good as any.
            data = headers.values.ctypes.data if len(headers.values) > 0 else headers.value_ends.ctypes.data
            value = np.int64(0) if headers.null[entry] else np.int64(data + value_at)
            name = headers.names.ctypes.data + name_at
            name_length, length = headers.name_ends[entry] - name_at, headers.value_ends[entry] - value_at
            call_int(calls.header_add, (listed, name, name_length, value, length))
        entry += 1
    return listed


@kernel
def settle(
    calls: Calls,
    client: int,
    queue: int,
    wait_ms: int,
    until_none_left: bool,  # noqa: FBT001 - kernels take no keywords
    reports: Reports,
) -> int:
    """Take delivery reports.

    Returns NONE_LEFT once no record is outstanding, NOTHING_CAME after so many ms without any, or the address of an
    event of another kind, which is then the caller's. Unless ``until_none_left``, NOTHING_CAME after the first report.
    """
    while call_int(calls.outq_len, (client,)) > 0:
        event = call_long(calls.queue_poll, (queue, wait_ms))
        if event == 0:
            return NOTHING_CAME
        if call_int(calls.event_type, (event,)) != _DELIVERY_REPORT:
            return int(event)
        if call_int(calls.event_error, (event,)) != 0:  # else all of its records were written
            _note_failed(calls, event, reports)
        call_int(calls.event_destroy, (event,))
        if not until_none_left:
            return NOTHING_CAME
    return NONE_LEFT


@kernel_part
def _note_failed(calls: Calls, event: int, reports: Reports) -> None:
    """Count the failed ones among the records of a report."""
    message = call_long(calls.event_message_next, (event,))
    while message != 0:
        error = load_int(message + ERROR)
        if error != 0:
            if reports.seen[0] == 0:
                _note(calls, message, error, reports)
            reports.seen[0] += 1
        message = call_long(calls.event_message_next, (event,))


@kernel_part
def _note(calls: Calls, message: int, error: int, reports: Reports) -> None:
    """Keep the first failure."""
    reports.seen[1] = error
    reports.seen[2] = load_int(message + PARTITION)
    name = call_long(calls.topic_name, (load_long(message + TOPIC),))
    for at in range(NAME_BYTES):
        reports.topic[at] = load_byte(name + at)
        if reports.topic[at] == 0:
            break
