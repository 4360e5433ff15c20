"""The native way out: columns straight into librdkafka's memory."""

from __future__ import annotations

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

    def __init__(self, library: Library, settings: Settings, timeout_s: float) -> None:
        super().__init__(settings, timeout_s)
        self._library = library
        self._sink: BatchProducer | None = None

    def open(self) -> None:
        """Make a new producer; the one before, if any, is forgotten with all it still holds."""
        self._let_go()
        super().open()
        self._sink = BatchProducer(self._library, self.producer, self._note)

    def close(self) -> None:
        """Give up the producer without waiting for what it holds."""
        self._let_go()
        super().close()

    def abandon(self) -> None:
        """Give up a producer that another thread is still inside of."""
        self._sink = None
        super().abandon()

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

    def flush(self) -> None:
        """Wait until every record is acknowledged. Raises Undone when one is not."""
        left = self._open_sink.flush(self._timeout_s)
        self.check()
        if left:
            raise Undone("not_acknowledged", f"{left} records within {self._timeout_s:.0f} s")

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

    def _let_go(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _note(self, level: int, facility: str, line: str) -> None:
        self._log.log(level, "", facility, "producer", line)
