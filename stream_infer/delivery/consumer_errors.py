"""Errors that a consumer reports: which end the worker, which end the consumer alone, which are passed over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError

from stream_infer.errors import BrokerError
from stream_infer.log import get_logger

__all__ = ["Fences", "meet"]

_LOG = get_logger(__name__)
_FENCES_MAX = 3
_FENCES_WITHIN_S = 60.0

_OLD_BROKER = (
    'the brokers are too old for the consumer protocol (from 4.0 on): set kafka.group_protocol = "classic"'
)

_STOPPING = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant Read on the input topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant Read on the consumer group (app.id)",
    KafkaError.UNSUPPORTED_VERSION: _OLD_BROKER,
    KafkaError._UNSUPPORTED_FEATURE: _OLD_BROKER,  # noqa: SLF001 - confluent-kafka's public name for it
    KafkaError.SASL_AUTHENTICATION_FAILED: "check kafka.sasl_username and kafka.sasl_password",
    KafkaError._AUTO_OFFSET_RESET: (  # noqa: SLF001 - confluent-kafka's public name for it
        "the committed offset is no longer in the topic: its retention is shorter than the worker was away; "
        'lengthen its retention; to go on without what is missing set input.on_gap = "skip"'
    ),
}
"""Errors of the consumer that no retry mends, each with its cure."""

_FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()


class Fences:
    """Whether a member that was fenced may join again.

    A request to join that was lost on its way and repeated arrives in the end, late, as if from another process of the
    same slot: the broker lets it in and fences the member that is there. That member comes back as a new
    consumer. Two processes that do have one slot fence each other without end, so only ``_FENCES_MAX`` in a minute are
    taken for late requests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[float] = deque()

    def met(self, error: KafkaError) -> bool:
        """Whether this error is a fence, so that a new consumer is to be made. Raises BrokerError at one too many."""
        fatal = error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001
        if error.code() != KafkaError.FENCED_INSTANCE_ID and not (fatal and _FENCED in error.str()):
            return False
        now = self._clock()
        self._seen.append(now)
        while self._seen[0] < now - _FENCES_WITHIN_S:
            self._seen.popleft()
        if len(self._seen) > _FENCES_MAX:
            raise BrokerError(
                f"consumer: fenced {len(self._seen)} times within a minute: another process has the same "
                "delivery.slot. Cure: give each its own"
            )
        return True


def meet(error: KafkaError) -> None:
    """Log an error of a consumer. Raises BrokerError on what no retry mends."""
    code = error.code()
    if code == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001
        _LOG.warning("max.poll.interval.ms exceeded, the partitions are lost")
    elif code in _STOPPING:
        raise BrokerError(f"consumer: {error.str()}. Cure: {_STOPPING[code]}")
    elif error.fatal() or code == KafkaError._FATAL:  # noqa: SLF001
        raise BrokerError(f"consumer: fatal: {error.str()}. Cure: start the worker again")
    else:
        _LOG.warning("consumer error", code=error.name(), reason=error.str())
