"""The native way in: columns straight from librdkafka's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, Message

from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.partition_queue import PartitionQueue
from stream_infer.delivery.source import BatchLimits, Taken, batch_of

__all__ = ["NativeIntake"]

_SLICE_S = 0.1
"""Longest wait for a record: a rebalance is not served in the meantime."""


class NativeIntake:
    """A consumer whose partitions are forwarded to a queue of ours."""

    def __init__(self, library: Library, topic: str, limits: BatchLimits) -> None:
        self._library = library
        self._topic = topic
        self._limits = limits
        self._consumer: Any = None
        self._queue: PartitionQueue | None = None
        self._strays: list[Message] = []

    def open(self, consumer: Any) -> None:
        """Take from this consumer from now on."""
        self._consumer = consumer
        self._queue = PartitionQueue(self._library, consumer, self._topic, self._limits.max_events)

    def close(self) -> None:
        """Let go of the consumer, before it is closed: it would wait for the queue."""
        queue, self._queue, self._strays = self._queue, None, []
        if queue is not None:
            queue.close()

    def take(self, wait_s: float) -> Taken:
        """What is there."""
        queue, limits = self._queue, self._limits
        assert queue is not None, "not open"
        self._poll(0 if queue.forwarded_count else wait_s)
        if self._strays:
            return self._stray()
        batch, troubles = queue.take(min(wait_s, _SLICE_S), limits.linger_ms / 1000, limits.max_bytes)
        errors = [KafkaError(code, text) for code, text in troubles]
        if batch is None:
            return Taken(None, "empty", errors)
        if queue.held_count:
            return Taken(batch, "max_bytes", errors)
        if len(batch) >= limits.max_events:
            return Taken(batch, "max_events", errors)
        return Taken(batch, "linger" if limits.linger_ms > 0 else "arrived", errors)

    def serve(self) -> None:
        """Serve a pending rebalance."""
        self._poll(0)

    def assigned(self, partitions: Sequence[int]) -> None:
        """Forward them."""
        if self._queue is not None:
            self._queue.forward(partitions)

    def released(self, partitions: Sequence[int]) -> None:
        """Forward them no longer."""
        if self._queue is not None:
            self._queue.release(partitions)

    def drop(self, partitions: Sequence[int]) -> None:
        """Forget what is held of these."""
        self._strays = [message for message in self._strays if message.partition() not in partitions]
        if self._queue is not None:
            self._queue.drop(partitions)

    def _poll(self, wait_s: float) -> None:
        message = self._consumer.poll(wait_s)
        if message is not None:
            self._strays.append(message)

    def _stray(self) -> Taken:
        """What came through confluent-kafka after all: errors of the group, and what was fetched before forwarding."""
        strays, self._strays = self._strays, []
        errors = [error for message in strays if (error := message.error()) is not None]
        records = [message for message in strays if message.error() is None]
        return Taken(batch_of(records) if records else None, "arrived" if records else "empty", errors)
