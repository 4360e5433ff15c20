"""The ordinary way in: confluent-kafka's Message objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, Message

from stream_infer.delivery.source import BatchLimits, Taken, batch_of

__all__ = ["MessageIntake"]


class MessageIntake:
    """One blocking poll for the first record, then all that is there, up to the limits.

    The client answers rebalances inside of ``poll`` and ``consume``, so ``drop`` may come in the midst of either: what
    was held before, and what such a call still returns, are then from further ahead than where reading goes on.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._held: list[Message] = []
        self._dropped: set[int] = set()
        self._consumer: Any = None

    def open(self, consumer: Any) -> None:
        """Take from this consumer from now on."""
        self._consumer = consumer

    def close(self) -> None:
        """Forget what is held."""
        self._held = []

    def take(self, wait_s: float) -> Taken:
        """What is there."""
        if not self._held:
            self._hold(self._first, wait_s)
        missing = self._limits.max_events - len(self._held)
        if self._held and missing > 0:
            self._hold(self._consumer.consume, missing, self._limits.linger_ms / 1000)
        messages, self._held = self._held, []
        if not messages:
            return Taken(None, "empty")
        errors = list(map(Message.error, messages))
        if not any(errors):
            return self._taken(messages, [])
        good = [message for message, error in zip(messages, errors, strict=True) if error is None]
        return self._taken(good, [error for error in errors if error is not None])

    def serve(self) -> None:
        """Serve a pending rebalance; a record that comes along is held."""
        self._hold(self._first, 0)

    def assigned(self, partitions: Sequence[int]) -> None:
        """Their records come by themselves."""

    def released(self, partitions: Sequence[int]) -> None:
        """Their records come no longer."""

    def drop(self, partitions: Sequence[int]) -> None:
        """Forget what is held of these."""
        self._dropped.update(partitions)
        self._held = [message for message in self._held if message.partition() not in partitions]

    def _hold(self, read: Callable[..., list[Message]], *arguments: float) -> None:
        """Hold what a call of the client returns, but for partitions that were dropped meanwhile."""
        self._dropped.clear()
        messages = read(*arguments)
        if self._dropped:
            messages = [message for message in messages if message.partition() not in self._dropped]
        self._held += messages

    def _first(self, wait_s: float) -> list[Message]:
        message = self._consumer.poll(wait_s)
        return [] if message is None else [message]

    def _taken(self, messages: list[Message], errors: list[KafkaError]) -> Taken:
        """The batch, or as much of it as the byte limit takes; the rest is held for the next time."""
        if not messages:
            return Taken(None, "empty", errors)
        batch, limits = batch_of(messages), self._limits
        if batch.bytes_count > limits.max_bytes:
            kept = max(1, int(np.searchsorted(batch.ends, limits.max_bytes, side="right")))
            self._held = messages[kept:]
            return Taken(batch_of(messages[:kept]), "max_bytes", errors)
        if len(messages) >= limits.max_events:
            return Taken(batch, "max_events", errors)
        return Taken(batch, "linger" if limits.linger_ms > 0 else "arrived", errors)
