"""The input consumer: batches in, membership and rebalances out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.consumer_errors import Fences, meet
from stream_infer.delivery.membership import Assigned, Membership, NotAMember
from stream_infer.delivery.reach import Reach
from stream_infer.delivery.settings import Settings
from stream_infer.log import get_logger
from stream_infer.records import Batch, Blobs, HeaderColumn

__all__ = [
    "BatchLimits",
    "Committed",
    "InputSource",
    "Intake",
    "Rebalances",
    "Source",
    "Taken",
    "assign_paused",
    "batch_of",
    "leave",
]

_LOG = get_logger(__name__)
_LEAVE_S, _LEAVE_STEP_S = 3.0, 0.01
_STAMP = itemgetter(1)  # of what kind of time, and the time


class Rebalances(Protocol):
    """Who must know of a rebalance before it is answered."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """These partitions are ours from now on; they are paused."""

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """These partitions are about to go; ``lost``: they may have gone before."""


class InputSource(Protocol):
    """Where batches come from.

    Partitions are those of the input topic. What needs the brokers raises KafkaException when they do not answer.
    """

    @property
    def cut_by(self) -> str:
        """What ended the last batch: max_events, max_bytes, linger, arrived, or empty."""

    @property
    def paused_count(self) -> int:
        """Partitions that wait for a restore or a schema."""

    def open(self, rebalances: Rebalances) -> None:
        """Join the group."""

    def close(self) -> None:
        """Leave the group."""

    def poll(self, wait_s: float) -> Batch | None:
        """Take a batch; rebalances are served in here."""

    def serve(self) -> None:
        """Serve a pending rebalance without taking a batch."""

    def membership(self) -> Membership:
        """The live membership. Raises NotAMember."""

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[int, Committed]:
        """Committed offsets, stable ones."""

    def bounds(self, partition: int, timeout_s: float) -> tuple[int, int]:
        """First offset and end, asked of the broker."""

    def end_seen(self, partition: int) -> int | None:
        """The end as of the last fetch, or None; costs no request."""

    def commit(self, positions: dict[int, int], note: Callable[[int, int], str]) -> None:
        """Commit offsets outside a transaction; ``note`` says what to commit beside a partition's offset."""

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop; what was fetched is dropped."""

    def resume_at(self, partition: int, offset: int) -> None:
        """Go on with a paused partition at an offset."""


class Taken(NamedTuple):
    """What an intake gave: records, what ended the batch, and errors that came in the place of records."""

    batch: Batch | None
    cut_by: str
    errors: Sequence[KafkaError] = ()


class Intake(Protocol):
    """How records get from the client into columns."""

    def open(self, consumer: Any) -> None:
        """Take from this consumer from now on."""

    def close(self) -> None:
        """Let go of the consumer, before it is closed."""

    def take(self, wait_s: float) -> Taken:
        """What is there, waiting for the first record at most so long; rebalances are served in here."""

    def serve(self) -> None:
        """Serve a pending rebalance; a record that comes along is held."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """The client has just assigned these."""

    def released(self, partitions: Sequence[int]) -> None:
        """The client is about to give these up."""

    def drop(self, partitions: Sequence[int]) -> None:
        """Forget what is held of these."""


class Committed(NamedTuple):
    """A committed offset, None where there is none, and the note that was committed with it (empty: none)."""

    offset: int | None
    note: str


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What cuts a batch: a count, a size, or (0 = at once) a wait for more."""

    max_events: int
    max_bytes: int
    linger_ms: float = 0.0


class Source:
    """Polls one topic as a member of a group.

    A batch is what arrived while the previous one was in work. Records come through ``intake``, all else through
    confluent-kafka's consumer.
    """

    def __init__(self, settings: Settings, topic: str, intake: Intake) -> None:
        self._settings = settings
        self._topic = topic
        self._intake = intake
        self._rebalances: Rebalances | None = None
        self._assigned: Assigned[int] = Assigned()
        self._paused: set[int] = set()
        self._reach = Reach(topic)
        self._consumer: Any = None
        self._fences = Fences()
        self.cut_by = "empty"

    def open(self, rebalances: Rebalances) -> None:
        """Join the group. Partitions come and go later, during ``poll``, as ``rebalances`` is told."""
        self._rebalances = rebalances
        self._subscribe()

    def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            leave(self._consumer, self._settings, self._intake.serve)
            self._intake.close()
            self._consumer.close()
            self._consumer = None

    def poll(self, wait_s: float) -> Batch | None:
        """Take a batch; rebalances are served in here. Raises BrokerError on what no retry mends."""
        taken = self._intake.take(wait_s)
        self.cut_by = taken.cut_by
        for error in taken.errors:
            if self._fences.met(error):
                self._replace(error.str())
                return None
            meet(error)
        if taken.batch is not None:
            self._reach.reached()
        elif not taken.errors and (lost := self._reach.lost(self._consumer)):
            self._replace(lost)
        return taken.batch

    def serve(self) -> None:
        """Serve a pending rebalance without taking a batch; a record that comes along is held for the next one."""
        self._intake.serve()

    def membership(self) -> Membership:
        """The live membership, for a transaction. Raises NotAMember."""
        if self._consumer is None:
            raise NotAMember("not connected")
        return self._assigned.membership(self._consumer, self._settings["group.id"])

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[int, Committed]:
        """Committed offsets, stable ones (in-doubt ones are waited for).

        Raises KafkaException on a time-out, which an open transaction of a dead worker can cause.
        """
        wanted = [TopicPartition(self._topic, p) for p in partitions]
        found = self._consumer.committed(wanted, timeout_s)
        for entry in found:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {
            entry.partition: Committed(entry.offset if entry.offset >= 0 else None, entry.metadata or "")
            for entry in found
        }

    def bounds(self, partition: int, timeout_s: float) -> tuple[int, int]:
        """First offset and end of a partition, asked of the broker."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout_s)
        return low, high

    def end_seen(self, partition: int) -> int | None:
        """End of a partition as of the last fetch, or None; costs no request."""
        bounds = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return bounds[1] if bounds is not None and bounds[1] >= 0 else None

    def commit(self, positions: dict[int, int], note: Callable[[int, int], str]) -> None:
        """Commit offsets outside a transaction and wait for the answer. Raises KafkaException.

        ``note`` says what to commit beside a partition's offset.
        """
        offsets = [TopicPartition(self._topic, *entry, note(*entry)) for entry in positions.items()]
        for entry in self._consumer.commit(offsets=offsets, asynchronous=False):
            if entry.error is not None:
                raise KafkaException(entry.error)

    @property
    def paused_count(self) -> int:
        """Partitions that wait for a restore or a schema."""
        return len(self._paused)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching these partitions; what was prefetched is dropped."""
        fresh = [p for p in partitions if p not in self._paused]
        if fresh:
            self._intake.drop(fresh)
            self._consumer.pause([TopicPartition(self._topic, p) for p in fresh])
            self._paused.update(fresh)

    def resume_at(self, partition: int, offset: int) -> None:
        """Go on with a paused partition at an offset. Raises KafkaException when it is no longer ours."""
        self._consumer.seek(TopicPartition(self._topic, partition, offset))
        self._consumer.resume([TopicPartition(self._topic, partition)])
        self._paused.discard(partition)

    def _subscribe(self) -> None:
        self._reach.reached()
        self._consumer = Consumer(dict(self._settings), logger=ClientLog(_LOG))
        self._intake.open(self._consumer)
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _replace(self, reason: str) -> None:
        _LOG.warning("new consumer", reason=reason)
        if self._rebalances is not None and self._assigned:
            self._rebalances.revoked(sorted(self._assigned), lost=True)
        self._assigned.clear()
        self._intake.close()
        self._consumer.close()
        self._paused.clear()
        self._subscribe()

    def _on_assign(self, consumer: Any, assigned: list[TopicPartition]) -> None:
        numbers = [tp.partition for tp in assigned]
        assign_paused(consumer, [(self._topic, p) for p in numbers], consumer.incremental_assign)
        self._intake.assigned(numbers)
        self._assigned.add(consumer, numbers)
        self._paused.difference_update(numbers)
        if numbers and self._rebalances is not None:
            self.pause(numbers)
            self._rebalances.assigned(numbers)

    def _on_revoke(self, consumer: Any, revoked: list[TopicPartition]) -> None:
        numbers = [tp.partition for tp in revoked]
        self._release(consumer, numbers, lost=self._assigned.lost(consumer, numbers))

    def _on_lost(self, consumer: Any, lost: list[TopicPartition]) -> None:
        self._release(consumer, [tp.partition for tp in lost], lost=True)

    def _release(self, consumer: Any, numbers: list[int], *, lost: bool) -> None:
        self._intake.drop(numbers)
        try:
            if self._rebalances is not None and not self._assigned.keys().isdisjoint(numbers):
                self._rebalances.revoked(numbers, lost=lost)
        finally:
            self._assigned.remove(numbers)
            self._paused.difference_update(numbers)
            self._intake.released(numbers)
            consumer.incremental_unassign([TopicPartition(self._topic, p) for p in numbers])


def assign_paused(
    consumer: Any, places: Iterable[tuple[str, int]], assign: Callable[[list[TopicPartition]], object]
) -> None:
    """Assign partitions of which nothing is read before ``seek`` and ``resume``: they are paused already.

    To pause them afterwards costs the seek. The client looks a logical offset up; a pause makes the answer out of date;
    it asks again half a second later, and whenever that answer comes, it reads from there. Offset 0 is not looked up,
    nor fetched from while paused, and were it used all the same, that would show: as stale rows, never as a gap.
    """
    given = [TopicPartition(*place, 0) for place in places]
    for each in given:
        consumer.get_watermark_offsets(
            each, cached=True
        )  # it cannot be paused before the client has heard of it
    consumer.pause(given)
    assign(given)


def leave(consumer: Any, settings: Settings, serve: Callable[[], None]) -> None:
    """Leave the group before the consumer is closed, so that others get its partitions at once.

    To close is enough, but for a member with an instance id: the group would wait for it until its session ends. So it
    would for one whose join is under way, which cannot leave: it has no member id until the join is answered.
    ``serve`` is called meanwhile, and while the last partitions are given up.
    """
    if settings["group.protocol"] != "classic" or not settings.get("group.instance.id"):
        return
    deadline = time.monotonic() + _LEAVE_S
    with suppress(KafkaException):
        while not consumer.memberid() and time.monotonic() < deadline:
            serve()
            time.sleep(_LEAVE_STEP_S)
        consumer.unsubscribe()
        while consumer.memberid() and time.monotonic() < deadline:
            serve()
            time.sleep(_LEAVE_STEP_S)


def batch_of(messages: list[Message]) -> Batch:
    """Records of one topic as columns. One pass per column over bound methods: no Python code runs per record."""
    count = len(messages)
    values: list[Any] = list(map(Message.value, messages))
    keys: list[Any] = list(map(Message.key, messages))
    headers: list[Any] = list(map(Message.headers, messages))
    payloads = Blobs.of(values)
    return Batch(
        payloads.data,
        payloads.ends,
        payloads.null,
        np.fromiter(map(Message.partition, messages), np.int32, count),
        np.fromiter(map(Message.offset, messages), np.int64, count),
        np.fromiter(map(_STAMP, map(Message.timestamp, messages)), np.int64, count),
        Blobs.of(keys),
        None if headers.count(None) == count else HeaderColumn.of(headers),
    )
