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
    KEY_LENGTH,
    LENGTH,
    OPAQUE,
    PARTITION,
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
_VALUES = [value for value, _, _, _ in _RECORDS]
_KEYS = [key for _, key, _, _ in _RECORDS]
_PARTITIONS = [partition for _, _, partition, _ in _RECORDS]
_HEADERS = [headers for _, _, _, headers in _RECORDS]


def prove(library: Library) -> None:
    """Raise Refusal unless everything is as the native lane needs it."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise Refusal("it needs a little-endian machine of 64 bits")
    token = f"proof-{uuid.uuid4().hex}"
    producer: Any = Producer({**_SILENT, "client.id": token})
    try:
        _prove_records(library, producer, handle_of(library, producer, token))
    finally:
        producer.close(0)
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
        _compare(Reader(library.calls), messages)
        if library.functions.topic_name(_word(messages[0] + TOPIC)) != _TOPIC.encode():
            raise Refusal("a message's topic is not where it is expected")
    finally:
        for event in events:
            library.functions.event_destroy(event)
        library.functions.queue_destroy(queue)
        if sink.flush(_WAIT_S):
            raise Refusal("reports are missing")
        sink.close()


def _reported(library: Library, queue: int, events: list[int]) -> NDArray[np.int64]:
    """Addresses of the messages of all reports, in the order in which they were sent; ``events`` keep them alive."""
    functions = library.functions
    found: list[int] = []
    deadline = time.monotonic() + _WAIT_S
    while len(found) < len(_VALUES) and time.monotonic() < deadline:
        event = functions.queue_poll(queue, 100)
        if not event:
            continue
        events.append(event)
        if functions.event_type(event) == _REPORT:
            while message := functions.event_message_next(event):
                found.append(message)
    if len(found) != len(_VALUES):
        raise Refusal(f"{len(found)} of {len(_VALUES)} reports came")
    order = [(_word(message + PARTITION) & 0xFFFF, number) for number, message in enumerate(found)]
    place = {partition: number for number, partition in enumerate(dict.fromkeys(_PARTITIONS))}
    order.sort(key=lambda entry: (place.get(entry[0], -1), entry[1]))
    return np.array([found[number] for _, number in order], np.int64)


def _compare(reader: Reader, messages: NDArray[np.int64]) -> None:
    sizes = reader.measure(messages)
    if (sizes.error != _PURGED_IN_QUEUE).any():
        raise Refusal("a message's error is not where it is expected")
    # A report has an error, and what has an error is not measured.
    sizes.ends[:] = np.cumsum([len(value or b"") for value in _VALUES])
    sizes.key_ends[:] = np.cumsum([len(key or b"") for key in _KEYS])
    sizes.headers[:] = [len(headers) for headers in _HEADERS]
    batch = reader.read(messages, sizes)
    found = (list(batch.values), list(batch.keys), batch.partition.tolist(), set(batch.offset.tolist()))
    if found != (_VALUES, _KEYS, _PARTITIONS, {_NO_OFFSET}):
        raise Refusal(f"messages read as {found}")
    if batch.headers is None or [batch.headers[row] for row in range(len(_HEADERS))] != _HEADERS:
        raise Refusal("headers cannot be read")
    lengths = [(_word(m + LENGTH), _word(m + KEY_LENGTH), _word(m + OPAQUE)) for m in messages.tolist()]
    if lengths != [(len(v or b""), len(k or b""), 0) for v, k in zip(_VALUES, _KEYS, strict=True)]:
        raise Refusal("a message's lengths are not where they are expected")


def _prove_queue(library: Library, consumer: Consumer) -> None:
    queue = PartitionQueue(library, consumer, _TOPIC, 1)
    try:
        queue.forward([0])
        if queue.take(0.0, 0.0, 1) != (None, []):
            raise Refusal("a consumer without brokers gave a record")
    finally:
        queue.close()


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(int(address)).value
