"""Batches of records into a confluent-kafka producer's librdkafka, and its reports of them out of it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.native.give_kernel import (
    NAME_BYTES,
    NONE_LEFT,
    NOTHING_CAME,
    QUEUE_FULL,
    Records,
    Reports,
    order_by_partition,
    produce,
    produce_with_headers,
    settle,
)
from stream_infer.delivery.native.handle import handle_of
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.message import MESSAGE_WORDS
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.header_arrays import header_arrays
from stream_infer.kernel import given
from stream_infer.records import HeaderColumn

__all__ = ["BatchProducer", "Failure"]

Failure = tuple[int, str]
"""librdkafka's code of an error, and where or why it happened."""

_LOG_EVENT, _ERROR_EVENT = 4, 8
_SLICE_MS = 50
_ARGUMENTS = 6
# syslog's levels in those of Python's logging, as confluent-kafka has them
_LEVELS = (50, 50, 50, 40, 30, 20, 20, 10)


class BatchProducer:
    """Gives records to the client and takes its delivery reports, past confluent-kafka and its object per record.

    Its records carry no opaque. confluent-kafka's own delivery callback passes over those, so nothing breaks when it is
    called (commit and abort do), but it also tells nothing: reports are taken here, from the client's main queue, as
    events. ``log`` is told the client's log lines that come along: level of Python's logging, facility, text.
    """

    def __init__(self, library: Library, producer: Any, log: Callable[[int, str, str], None]) -> None:
        self._library = library
        self._producer = producer
        self._log = log
        self._client = handle_of(library, producer)
        self._queue = library.functions.queue_get_main(self._client)
        self._topics: dict[str, int] = {}
        self._reports = Reports(np.zeros(3, np.int64), np.zeros(NAME_BYTES, np.uint8))
        self._fatal: Failure | None = None

    def produce(self, topic: str, outgoing: Outgoing, timeout_s: float) -> NDArray[np.int32]:
        """Queue records, waiting for room while the queue is full; librdkafka's error code of each, 0 if it is queued.

        In each partition they are queued in the given order.
        """
        records, deadline = _records(outgoing), time.monotonic() + timeout_s
        waiting = np.arange(len(outgoing))
        while True:
            self._produce(topic, outgoing, records, waiting)
            waiting = np.flatnonzero(records.error == QUEUE_FULL)
            if not len(waiting) or time.monotonic() > deadline:
                return records.error
            self._settle(until_none_left=False)

    def flush(self, timeout_s: float) -> int:
        """Take reports until no record is outstanding; returns how many are after that time."""
        deadline = time.monotonic() + timeout_s
        while not self._settle(until_none_left=True):
            if time.monotonic() > deadline:
                return len(self._producer)
        return 0

    def take_failure(self) -> Failure | None:
        """The first record that failed since the last call, or what made the whole client fail."""
        seen, fatal = self._reports.seen, self._fatal
        if seen[0] and fatal is None:
            name = self._reports.topic.tobytes().split(b"\0")[0].decode()
            fatal = int(seen[1]), f"{name}[{seen[2]}]"
        seen[0], self._fatal = 0, None
        return fatal

    def topic_handle(self, name: str) -> int:
        """The topic's handle."""
        handle = self._topics.get(name)
        if handle is None:
            handle = self._topics[name] = self._library.functions.topic_new(self._client, name.encode(), None)
        return handle

    def close(self) -> None:
        """Let go of the client. To be called before it is closed."""
        functions = self._library.functions
        for topic in self._topics.values():
            functions.topic_destroy(topic)
        functions.queue_destroy(self._queue)

    def _produce(self, topic: str, outgoing: Outgoing, records: Records, chosen: NDArray[np.int64]) -> None:
        calls, handle = self._library.calls, self.topic_handle(topic)
        if outgoing.headers is not None:
            words = np.zeros((_ARGUMENTS + 1) * MESSAGE_WORDS, np.int64)
            headers, passed = header_arrays(outgoing.headers), _passed(outgoing.headers, outgoing.passed)
            produce_with_headers(calls, self._client, handle, records, headers, passed, chosen, words)
            return
        starts = np.empty(int(records.partition.max(initial=-1)) + 3, np.int64)
        order = np.empty(len(chosen), np.int64)
        order_by_partition(records, chosen, starts, order)
        messages = np.empty((len(chosen), MESSAGE_WORDS), np.int64)
        produce(calls, handle, records, starts, order, messages)

    def _settle(self, *, until_none_left: bool) -> bool:
        """Take what reports there are; whether no record is outstanding any more."""
        while True:
            found = settle(
                self._library.calls, self._client, self._queue, _SLICE_MS, until_none_left, self._reports
            )
            if found in (NONE_LEFT, NOTHING_CAME):
                return bool(found == NONE_LEFT)
            self._serve(found)

    def _serve(self, event: int) -> None:
        """What confluent-kafka's callbacks would do with an event that is no report."""
        functions = self._library.functions
        kind = functions.event_type(event)
        if kind == _LOG_EVENT:
            facility, text, level = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.c_int()
            functions.event_log(event, *map(ctypes.byref, (facility, text, level)))
            self._log(_LEVELS[level.value & 7], _text(facility.value), _text(text.value))
        elif kind == _ERROR_EVENT and functions.event_error_is_fatal(event):
            self._fatal = functions.event_error(event), _text(functions.event_error_string(event))
        functions.event_destroy(event)


def _records(outgoing: Outgoing) -> Records:
    """Arrays as the kernels were compiled for."""
    return Records(
        given(outgoing.values.data, np.uint8),
        given(outgoing.values.ends, np.int64),
        given(outgoing.values.null, np.bool_),
        given(outgoing.keys.data, np.uint8),
        given(outgoing.keys.ends, np.int64),
        given(outgoing.keys.null, np.bool_),
        given(outgoing.rows, np.int64),
        given(outgoing.partition, np.int32),
        np.zeros(len(outgoing), np.int32),
    )


def _passed(headers: HeaderColumn, names: frozenset[bytes] | None) -> NDArray[np.bool_]:
    """Which headers are to be written: those of these names, or all."""
    if names is None:
        return given(np.ones(len(headers.names), np.bool_), np.bool_)
    return given(np.array([(name or b"").lower() in names for name in headers.names], np.bool_), np.bool_)


def _text(found: bytes | None) -> str:
    return (found or b"").decode("utf-8", "replace")
