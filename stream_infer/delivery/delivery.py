"""What both delivery modes share: one producer, a count of what went in and out, an end that is known."""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import length_hint
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from stream_infer.delivery.bounded import Caller
from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.membership import Membership
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.settings import Settings
from stream_infer.errors import BrokerError, DeliveryError
from stream_infer.log import get_logger

__all__ = [
    "CONNECTION_LOST",
    "MODEL_UNANSWERED",
    "NOT_ACKNOWLEDGED",
    "Delivery",
    "Failures",
    "Ledger",
    "Outbox",
    "Undone",
    "error_of",
    "write_whole",
]

_LOG = get_logger(__name__)
_QUEUE_FULL_WAIT_S = 0.05
_FLUSH_STEP_S = 0.05
_CLOSE_S = 3.0
_ABANDONED_MAX = 8
_FAILURES_MAX = 20
_BACKOFF_MAX_S = 2.0


# An unknown topic is not among them: brokers that restart say so of topics that exist.
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant Write on the output, reject and state topics",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "grant Write on the transactional ids (prefix app.id)",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant Read on the consumer group (app.id)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant IdempotentWrite on the cluster",
}


MODEL_UNANSWERED = "model_unanswered"
"""Cause of an Undone: the server that runs the model."""

CONNECTION_LOST = "connection_lost"
"""Cause of an Undone: a broker went away before the offsets were sent."""

NOT_ACKNOWLEDGED = "not_acknowledged"
"""Cause of an Undone: records were not taken in time."""


class Undone(Exception):  # noqa: N818 - an outcome the worker acts on, not a fault of its own
    """What was published since the last commit does not count: go back to the committed positions.

    ``cause`` is one of a few fixed names, for metrics; ``detail`` is for people. ``known``: it is certain that nothing
    of it counts and never will, so that the committed positions are those that this process remembers.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.known = False

    @classmethod
    def of(cls, error: Any, where: str) -> Undone:
        """From an error of the client. Raises BrokerError for those that no repetition mends."""
        if error.code() in _REFUSED:
            raise BrokerError(f"{where}: {error.str()}. Cure: {_REFUSED[error.code()]}")
        in_time = error.code() != KafkaError._MSG_TIMED_OUT  # noqa: SLF001 - the client's name for it
        return cls(error.name() if in_time else NOT_ACKNOWLEDGED, f"{where}: {error.str()}")

    @classmethod
    def by(cls, failure: Exception, where: str) -> Undone:
        """From whatever ended a delivery: the client's exception, a lost membership, or Undone itself."""
        if isinstance(failure, Undone):
            return failure
        if isinstance(failure, KafkaException):
            return cls.of(error_of(failure), where)
        return cls("not_a_member", str(failure))


@dataclass(slots=True)
class Ledger:
    """The conservation law of one delivery: every input ends as exactly one output."""

    inputs: int = 0
    scored: int = 0
    rejected: int = 0

    def check(self) -> None:
        """Raise DeliveryError unless each input ended as scored or rejected."""
        if self.inputs != self.scored + self.rejected:
            raise DeliveryError(f"conservation is broken: {self}; nothing of it was committed")

    def clear(self) -> None:
        """Start the next delivery."""
        self.inputs = self.scored = self.rejected = 0


class Delivery(Protocol):
    """Brings records and input offsets to the broker together, or not at all."""

    ledger: Ledger
    opened_at: float | None
    took_s: dict[str, float]
    """Seconds of the last commit's steps: state, flush, offsets and, of a transaction, commit."""
    commits_when_revoked: bool
    """Whether it may still be committed while a rebalance takes partitions away."""

    def open(self) -> None:
        """Connect; raises DeliveryError when the broker takes no producer in time."""

    def begin(self) -> Outbox:
        """Where to write to; starts a transaction when there is none."""

    def commit(
        self, positions: dict[int, int], membership: Callable[[], Membership], state: Callable[[], None]
    ) -> None:
        """Make everything since ``begin`` count, with these positions; ``state`` writes the entity state due.

        Raises Undone when it does not count; then nothing of it ever will.
        """

    def abort(self, reason: str) -> bool:
        """Drop everything since ``begin``; says whether it is certain that nothing of it counts."""

    def close(self) -> None:
        """Let go of the producer; an open transaction is aborted."""


class Outbox:
    """A producer with back-pressure: a full queue waits, bounded, instead of failing.

    ``early``: an open one, whose producer is taken over when this one is opened, if its settings are the same.
    """

    def __init__(self, settings: Settings, timeout_s: float, early: Outbox | None = None) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._early = early
        self._log = ClientLog(_LOG)
        self._failed: list[tuple[Any, str]] = []
        self._abandoned: list[threading.Thread] = []
        self.producer: Any = None

    def open(self) -> None:
        """Make a new producer; the one before, if any, is forgotten with all it still holds."""
        early, self._early = self._early, None
        if early is not None:
            if early._settings == self._settings:  # noqa: SLF001 - of the same class
                self.producer, self._log, self._failed = early.producer, early._log, early._failed  # noqa: SLF001
                return
            early.close()
        # Of this producer alone: one before it may still be closing, and what it says then is of no concern.
        self._log, self._failed = ClientLog(_LOG), []
        on_delivery = partial(_note_failure, self._failed)
        self.producer = Producer(dict(self._settings), logger=self._log, on_delivery=on_delivery)

    def close(self) -> None:
        """Give up the producer without waiting for what it holds, nor long for brokers that do not answer.

        The client aborts what is open, and waits without an end for the answer. A thread waits for that; the next
        producer of the same transactional id fences this one, whatever comes of it.
        """
        if self.producer is None:
            return
        closing = Caller("closing-producer")
        if not closing.returns_within(self._detached(), _CLOSE_S):
            _LOG.warning("left a producer to close by itself", waited_s=_CLOSE_S)
        closing.close()

    def abandon(self, inside: threading.Thread | None = None) -> None:
        """Give up a producer and wait for nothing; it is closed once the thread that is ``inside`` of it is out.

        Raises DeliveryError where too many are not closed yet: each keeps its memory and threads.
        """
        closing = threading.Thread(
            target=_close_after, args=(inside, self._detached()), name="abandoned-producer", daemon=True
        )
        closing.start()
        self._abandoned = [*filter(threading.Thread.is_alive, self._abandoned), closing]
        if len(self._abandoned) > _ABANDONED_MAX:
            raise DeliveryError(
                f"Kafka's client does not let go of {len(self._abandoned)} producers. Nothing of theirs was committed. "
                "Cure: start the worker again, and see why the coordinators of the group and of its transactions come "
                "and go"
            )

    def write(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any = None
    ) -> None:
        """Queue one record. Raises KafkaException, or Undone when the queue stays full."""
        try:
            self._produce(topic, value, key, partition, headers)
        except BufferError:
            self._write_when_free(topic, value, key, partition, headers)

    def write_all(self, topic: str, outgoing: Outgoing) -> list[int]:
        """Queue many records; returns the numbers of those that are too large for the client to send.

        Raises as ``write`` does.
        """
        values, keys, partitions = list(outgoing.values), outgoing.keys_of(), outgoing.partition.tolist()
        headers = outgoing.headers_of()
        if headers is None:
            written = self._write_plain(topic, values, keys, partitions)
            headers = [[]] * len(values)
        else:
            written = 0
        too_large = []
        for number in range(written, len(values)):
            try:
                self.write(topic, values[number], keys[number], partitions[number], headers[number])
            except KafkaException as failure:
                if error_of(failure).code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                too_large.append(number)
        return too_large

    def disturbed(self) -> bool:
        """Whether a connection was lost since ``unanswered`` was last asked."""
        try:
            self.producer.poll(0)
        except (KafkaException, SystemError):  # the client is dead by now
            return True
        return self._log.unanswered_count > 0

    def unanswered(self) -> bool:
        """Whether a request may have lost its answer, since the last call."""
        disturbed = self.disturbed()
        self._log.take_unanswered()
        return disturbed

    def flush(self, *, undisturbed: bool = False) -> None:
        """Wait until every record is acknowledged. Raises Undone when one is not.

        ``undisturbed``: or as soon as a connection is lost.
        """
        deadline = time.monotonic() + self._timeout_s
        while left := self._flush_step():
            self.check()
            if undisturbed and self._log.unanswered_count:
                raise Undone(CONNECTION_LOST, f"with {left} records on their way")
            if time.monotonic() > deadline:
                raise Undone(NOT_ACKNOWLEDGED, f"{left} records within {self._timeout_s:.0f} s")
        self.check()

    def check(self) -> None:
        """Raise Undone (or BrokerError) when a record failed."""
        if self._failed:
            error, where = self._failed[0]
            self._failed.clear()
            raise Undone.of(error, where)

    def forget_failures(self) -> None:
        """After an abort: what it took with it has not failed."""
        self._failed.clear()

    def _flush_step(self) -> int:
        """Wait a moment for acknowledgements; how many are missing."""
        try:
            left: int = self.producer.flush(_FLUSH_STEP_S)
        except (KafkaException, SystemError) as error:
            # SystemError: the client's logger callback met a fatal error.
            raise Undone("flush_failed", str(error.__cause__ or error)) from error
        return left

    def _detached(self) -> Callable[[], None]:
        """Have no producer any more; returns what closes it, in whatever thread."""
        producer, self.producer = self.producer, None
        return partial(_close, producer)

    def _write_plain(
        self, topic: str, values: list[bytes | None], keys: list[bytes | None], partitions: list[int]
    ) -> int:
        """Queue records without headers up to the first that is not taken at once; returns how many were.

        No Python code runs per record.
        """
        left = iter(values)
        try:
            deque(map(self.producer.produce, repeat(topic), left, keys, partitions), maxlen=0)
        except (BufferError, KafkaException):
            return len(values) - length_hint(left) - 1
        return len(values)

    def _produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any
    ) -> None:
        if headers:
            self.producer.produce(topic, value, key, partition, headers=headers)
        else:
            self.producer.produce(topic, value, key, partition)

    def _write_when_free(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, headers: Any
    ) -> None:
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            self.producer.poll(_QUEUE_FULL_WAIT_S)
            try:
                self._produce(topic, value, key, partition, headers)
            except BufferError:
                continue
            return
        raise Undone("queue_full", f"for {self._timeout_s:.0f} s")


def _note_failure(failed: list[tuple[Any, str]], error: Any, message: Any) -> None:
    if error is not None and not failed:
        failed.append((error, f"{message.topic()}[{message.partition()}]"))


def _close(producer: Producer) -> None:
    # One that cannot abort what is open warns of it; a fenced one says so once more.
    with warnings.catch_warnings(action="ignore"), suppress(KafkaException):
        producer.purge()  # close() would wait for all it holds, for as long as message.timeout.ms
        producer.close()


def _close_after(inside: threading.Thread | None, close: Callable[[], None]) -> None:
    if inside is not None:
        inside.join()
    close()


class Failures:
    """Counts undone deliveries in a row, waits between them, and gives up in the end."""

    def __init__(self, progress: Callable[[], None]) -> None:
        self._progress = progress
        self._count = 0
        self._waits = 0

    def clear(self) -> None:
        """A delivery succeeded."""
        self._count = self._waits = 0

    def add(self, reason: str) -> None:
        """A delivery failed. Raises DeliveryError after too many in a row."""
        self._count += 1
        if self._count > _FAILURES_MAX:
            raise DeliveryError(
                f"{self._count} deliveries in a row failed, the last one: {reason}. Nothing was committed. "
                "Cure: see the brokers' logs; if it says MSG_SIZE_TOO_LARGE, raise max.message.bytes of the reject "
                "topic (`stream-infer topics create` sets it)"
            )
        if self._count > 1:
            self._pause(self._count)

    def wait(self) -> None:
        """A delivery failed for something that somebody else waits for, and gives up on."""
        self._waits += 1
        self._pause(self._waits)

    def _pause(self, count: int) -> None:
        pause_s = min(_BACKOFF_MAX_S, 0.02 * 2 ** min(count, 10))
        self._progress()
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def error_of(failure: KafkaException) -> Any:
    """The KafkaError inside an exception of the client."""
    return failure.args[0]


def write_whole(delivery: Delivery, topic: str, outgoing: Outgoing, what: str) -> None:
    """Queue records that there is no reject for; ``what`` names one.

    Raises Undone when the producer takes no more, and DeliveryError where one is too large to be sent.
    """
    try:
        too_large = delivery.begin().write_all(topic, outgoing)
    except KafkaException as failure:
        raise Undone.of(error_of(failure), "publish") from failure
    if too_large:
        raise DeliveryError(
            f"{what} is too large for the producer to send to {topic}. "
            'Cure: raise "message.max.bytes" in [kafka.producer]'
        )
