"""What the native lane believes of confluent-kafka and librdkafka, proved in this process before it is relied on.

The public functions of librdkafka are stable; not promised is that a client's handle lies where handle.py looks, and
that a message's fields lie where message.py says. Two clients of no brokers show both in milliseconds: records that
a producer can never send come back as delivery reports, field by field as they were given. On the way every kernel is
compiled or read from the disk cache.
"""

from __future__ import annotations

import ctypes
import sys
import time
import uuid
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer
from numpy.typing import NDArray

from stream_infer.delivery.native.batch_producer import BatchProducer
from stream_infer.delivery.native.handle import handle_of
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.message import (
    ERROR,
    KEY,
    KEY_LENGTH,
    LENGTH,
    OFFSET,
    OPAQUE,
    PARTITION,
    PAYLOAD,
    TOPIC,
)
from stream_infer.delivery.native.partition_queue import PartitionQueue
from stream_infer.delivery.native.reader import Reader
from stream_infer.delivery.native.refusal import Refusal
from stream_infer.delivery.outgoing import Outgoing

__all__ = ["prove"]

_TOPIC = "proof"
_PURGED_IN_QUEUE = -152
_NO_OFFSET = -1001
_ALL = 3  # RD_KAFKA_PURGE_F_QUEUE, and what is in flight
_REPORT = 1
_WAIT_S = 10.0
_SILENT: dict[str, Any] = {"bootstrap.servers": "", "log_level": 0}

_RECORDS: list[tuple[bytes | None, bytes | None, int, list[tuple[str, bytes | None]]]] = [
    (b"a value of some length", b"a key", 5, []),
    (b"", None, 3, []),
    (None, b"", 3, []),
    (b"with headers", b"another", 0, [("traceparent", b"00-01"), ("empty", b""), ("null", None)]),
]


def prove(library: Library) -> None:
    """Raise Refusal unless everything is as the native lane needs it."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise Refusal("it needs a little-endian machine of 64 bits")
    token = f"proof-{uuid.uuid4().hex}"
    producer: Any = Producer({**_SILENT, "client.id": token})
    try:
        _prove_records(library, producer, handle_of(library, producer, token))
    finally:
        producer.close()
    consumer = Consumer({**_SILENT, "client.id": token, "group.id": token})
    try:
        handle_of(library, consumer, token)
        _prove_queue(library, consumer)
    finally:
        consumer.close()


def _prove_records(library: Library, producer: Any, client: int) -> None:
    """Records given to a producer without brokers and taken back: they must be the same."""
    sink = BatchProducer(library, producer, lambda *_: None)
    queue = library.functions.queue_get_main(client)
    events: list[int] = []
    try:
        for records in (_RECORDS[:3], _RECORDS[3:]):  # without headers, with headers
            outgoing = Outgoing.of(*(list(column) for column in zip(*records, strict=True)))
            if sink.produce(_TOPIC, outgoing, 0.0).any():
                raise Refusal("records cannot be given to a producer")
        library.functions.purge(client, _ALL)
        messages = _reported(library, queue, events)
        _compare(Reader(library.calls), _in_order(messages, sink.topic_handle(_TOPIC)))
    finally:
        for event in events:
            library.functions.event_destroy(event)
        library.functions.queue_destroy(queue)
        sink.flush(_WAIT_S)
        sink.close()


def _reported(library: Library, queue: int, events: list[int]) -> list[int]:
    """Addresses of the messages of all reports; the ``events`` they came with keep them alive."""
    functions = library.functions
    found: list[int] = []
    deadline = time.monotonic() + _WAIT_S
    while len(found) < len(_RECORDS) and time.monotonic() < deadline:
        event = functions.queue_poll(queue, 100)
        if not event:
            continue
        events.append(event)
        if functions.event_type(event) == _REPORT and functions.event_error(event):
            while message := functions.event_message_next(event):
                found.append(message)
    return found


def _in_order(messages: list[int], topic: int) -> NDArray[np.int64]:
    """The messages in the order of the records, told by their fields alone: no pointer is followed yet."""
    wanted = [
        (_PURGED_IN_QUEUE, topic, partition, len(value or b""), value is None, len(key or b""), key is None)
        for value, key, partition, _ in _RECORDS
    ]
    found = {
        (
            _int(message + ERROR),
            _word(message + TOPIC),
            _int(message + PARTITION),
            _word(message + LENGTH),
            _word(message + PAYLOAD) == 0,
            _word(message + KEY_LENGTH),
            _word(message + KEY) == 0,
        ): message
        for message in messages
        if (_word(message + OFFSET), _word(message + OPAQUE)) == (_NO_OFFSET, 0)
    }
    if sorted(found) != sorted(wanted):
        raise Refusal(
            f"the fields of messages lie elsewhere: read were {sorted(found)}, not {sorted(wanted)}"
        )
    return np.array([found[fields] for fields in wanted], np.int64)


def _compare(reader: Reader, messages: NDArray[np.int64]) -> None:
    sizes = reader.measure(messages)
    if (sizes.error != _PURGED_IN_QUEUE).any():
        raise Refusal("errors cannot be read")
    # A report has an error, and what has an error is not measured.
    sizes.ends[:] = np.cumsum([len(value or b"") for value, _, _, _ in _RECORDS])
    sizes.key_ends[:] = np.cumsum([len(key or b"") for _, key, _, _ in _RECORDS])
    sizes.headers[:] = [len(headers) for _, _, _, headers in _RECORDS]
    batch = reader.read(messages, sizes)
    headers = (
        [[]] * len(_RECORDS)
        if batch.headers is None
        else map(batch.headers.__getitem__, range(len(_RECORDS)))
    )
    found = list(zip(batch.values, batch.keys, batch.partition.tolist(), headers, strict=True))
    if found != _RECORDS or set(batch.offset.tolist()) != {_NO_OFFSET}:
        raise Refusal(f"records read as {found}")


def _prove_queue(library: Library, consumer: Consumer) -> None:
    queue = PartitionQueue(library, consumer, _TOPIC, 1)
    try:
        queue.forward([0])
        if queue.take(0.0, 0.0, 1) != (None, []):
            raise Refusal("a consumer without brokers gave a record")
    finally:
        queue.close()


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def _int(address: int) -> int:
    return ctypes.c_int32.from_address(address).value
