"""Whether a consumer still reaches brokers: asked while nothing arrives."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaException

__all__ = ["Reach"]

_PROBE_EVERY_S = 2.0
_PROBE_S = 0.5
_UNREACHED_S = 8.0


class Reach:
    """Says when a consumer must be replaced, because it has reached no broker for long.

    A broker that starts may say that there are no brokers. The client then forgets all it knew and never looks for one
    again, whatever metadata.recovery.strategy says: no error, no record, for ever.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._probed_at = self._reached_at = 0.0

    def reached(self) -> None:
        """A broker answered, or the consumer is a new one."""
        self._reached_at = time.monotonic()

    def lost(self, consumer: Any) -> str | None:
        """Ask the brokers now and then; why the consumer is to be replaced, if it has had no answer for too long."""
        now = time.monotonic()
        if now - self._probed_at < _PROBE_EVERY_S:
            return None
        self._probed_at = now
        try:
            consumer.list_topics(self._topic, timeout=_PROBE_S)
        except KafkaException as failure:
            return str(failure.args[0].str()) if now - self._reached_at > _UNREACHED_S else None
        self._reached_at = now
        return None
