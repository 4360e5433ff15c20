"""Whether a consumer still reaches brokers: asked while nothing arrives."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaException

from stream_infer.log import get_logger

__all__ = ["Reach"]

_LOG = get_logger(__name__)
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

    def is_lost(self, consumer: Any) -> bool:
        """Ask the brokers now and then; whether the consumer has been without an answer for too long."""
        now = time.monotonic()
        if now - self._probed_at < _PROBE_EVERY_S:
            return False
        self._probed_at = now
        try:
            consumer.list_topics(self._topic, timeout=_PROBE_S)
        except KafkaException as failure:
            if now - self._reached_at <= _UNREACHED_S:
                return False
            _LOG.warning("new consumer", reason=failure.args[0].str())
            return True
        self._reached_at = now
        return False
