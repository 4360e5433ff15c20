"""The native way out: columns straight into librdkafka's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from stream_infer.delivery.delivery import Outbox, Undone
from stream_infer.delivery.native.batch_producer import BatchProducer
from stream_infer.delivery.native.give_kernel import QUEUE_FULL
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.settings import Settings

__all__ = ["NativeOutbox"]


class NativeOutbox(Outbox):
    """An outbox that writes past confluent-kafka; transactions go on through its producer."""

    def __init__(
        self, library: Library, settings: Settings, timeout_s: float, early: Outbox | None = None
    ) -> None:
        super().__init__(settings, timeout_s, early)
        self._library = library
        self._sink: BatchProducer | None = None

    def open(self) -> None:
        """Make a new producer."""
        super().open()
        self._sink = BatchProducer(self._library, self.producer, self._note)

    def write(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any = None
    ) -> None:
        """Queue one record. Raises KafkaException, or Undone when the queue stays full."""
        if self.write_all(topic, Outgoing.of([value], [key], [partition], [headers])):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    def write_all(self, topic: str, outgoing: Outgoing) -> list[int]:
        """Queue many records; returns the numbers of those that are too large for the client to send."""
        error = self._open_sink.produce(topic, outgoing, self._timeout_s)
        if not error.any():
            return []
        if (error == QUEUE_FULL).any():
            raise Undone("queue_full", f"for {self._timeout_s:.0f} s")
        other = error[(error != 0) & (error != KafkaError.MSG_SIZE_TOO_LARGE)]
        if len(other):
            raise KafkaException(KafkaError(int(other[0])))
        too_large: list[int] = np.flatnonzero(error).tolist()
        return too_large

    def check(self) -> None:
        """Raise Undone (or BrokerError) when a record failed."""
        failure = self._open_sink.take_failure()
        if failure is not None:
            code, where = failure
            raise Undone.of(KafkaError(code), where)

    def forget_failures(self) -> None:
        """After an abort: what it took with it has not failed."""
        self._open_sink.flush(self._timeout_s)
        self._open_sink.take_failure()

    @property
    def _open_sink(self) -> BatchProducer:
        assert self._sink is not None, "not open"
        return self._sink

    def _flush_step(self) -> int:
        return self._open_sink.flush(0.0)

    def _detached(self) -> Callable[[], None]:
        close_sink, close_producer = self._open_sink.close, super()._detached()
        self._sink = None

        def close() -> None:
            close_sink()
            close_producer()

        return close

    def _note(self, level: int, facility: str, line: str) -> None:
        self._log.log(level, "", facility, "producer", line)
