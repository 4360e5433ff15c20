"""A member of a group that reads several topics, of each the same partitions.

Only the range assignor gives partition n of every topic to one member (the others were seen not to); it is asked for,
and looked at after every assignment. A partition counts as ours while all topics' are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.consumer_errors import Fences, meet
from stream_infer.delivery.membership import Assigned, Membership, NotAMember
from stream_infer.delivery.reach import Reach
from stream_infer.delivery.settings import Settings
from stream_infer.delivery.source import Rebalances, assign_paused, leave
from stream_infer.errors import BrokerError
from stream_infer.log import get_logger

__all__ = ["Member", "gathering_settings", "member_settings"]

_LOG = get_logger(__name__)
_APART_S = 30.0
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public name for it

_GATHERED_BYTES = 524_288
_GATHERED_MS = 1000

Place = tuple[str, int]
"""Topic and partition."""


def member_settings(consumer: Settings) -> dict[str, Any]:
    """Settings of a member, from those of a worker's consumer."""
    settings = {**consumer, "enable.partition.eof": True}
    if settings["group.protocol"] == "classic":
        return {**settings, "partition.assignment.strategy": "range"}
    return {**settings, "group.remote.assignor": "range"}


def gathering_settings(interval_ms: int) -> dict[str, Any]:
    """Settings that let brokers gather what comes within an interval (a second at most), or half a megabyte of it.

    Else every record that is written is a fetch.
    """
    if interval_ms == 0:
        return {}
    return {"fetch.wait.max.ms": min(interval_ms, _GATHERED_MS), "fetch.min.bytes": _GATHERED_BYTES}


class Member:
    """Polls ``topics``, the first of which is the input, with the settings of ``member_settings``."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._eager = settings["group.protocol"] == "classic"
        self._rebalances: Rebalances | None = None
        self._held: Assigned[Place] = Assigned()
        self._paused: set[Place] = set()
        self._whole: set[int] = set()
        self._apart_since: float | None = None
        self._reach = Reach(topics[0])
        self._consumer: Any = None
        self._ends: dict[Place, int] = {}
        self._fences = Fences()

    def open(self, rebalances: Rebalances) -> None:
        """Join the group; ``rebalances`` is told, during ``poll``, which partitions of all topics come and go."""
        self._rebalances = rebalances
        self._subscribe()

    def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            leave(self._consumer, self._settings, lambda: self._consumer.poll(0))
            self._consumer.close()
            self._consumer = None

    def poll(self, wait_s: float, limit: int) -> list[Message]:
        """Take up to ``limit`` records, in order per partition of a topic, waiting for the first."""
        first = self._consumer.poll(wait_s)
        self._see_together()
        if first is None:
            if lost := self._reach.lost(self._consumer):
                self._replace(lost)
            return []
        self._reach.reached()
        messages = [first, *self._consumer.consume(limit, 0)] if limit > 1 else [first]
        errors = list(map(Message.error, messages))
        if not any(errors):
            return messages
        for message, error in zip(messages, errors, strict=True):
            if error is not None:
                if self._fences.met(error):
                    self._replace(error.str())
                    return []
                self._meet(message, error)
        return [message for message, error in zip(messages, errors, strict=True) if error is None]

    def membership(self) -> Membership:
        """The live membership, for a transaction. Raises NotAMember."""
        if self._consumer is None:
            raise NotAMember("not connected")
        return self._held.membership(self._consumer, self._settings["group.id"])

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[Place, TopicPartition]:
        """Committed offsets of all topics, stable ones. Raises KafkaException on a time-out."""
        wanted = [TopicPartition(topic, p) for p in partitions for topic in self._topics]
        found = self._consumer.committed(wanted, timeout_s)
        for entry in found:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {(entry.topic, entry.partition): entry for entry in found}

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit offsets outside a transaction and wait for the answer. Raises KafkaException."""
        for entry in self._consumer.commit(offsets=offsets, asynchronous=False):
            if entry.error is not None:
                raise KafkaException(entry.error)

    def bounds(self, topic: str, partition: int, timeout_s: float) -> tuple[int, int]:
        """First offset and end of a partition, asked of the broker."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
        return low, high

    def end_seen(self, topic: str, partition: int) -> int | None:
        """End of a partition as of the last fetch, or None; costs no request."""
        bounds = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return bounds[1] if bounds is not None and bounds[1] >= 0 else None

    def pause(self, places: Iterable[Place]) -> None:
        """Stop fetching these; what was prefetched is dropped, what was polled is not."""
        fresh = [place for place in places if place in self._held and place not in self._paused]
        if fresh:
            self._consumer.pause([TopicPartition(*place) for place in fresh])
            self._paused.update(fresh)

    def resume(self, places: Iterable[Place]) -> None:
        """Go on behind what was polled last."""
        ready = [place for place in places if place in self._paused]
        if ready:
            self._consumer.resume([TopicPartition(*place) for place in ready])
            self._paused.difference_update(ready)

    def resume_at(self, offsets: Mapping[Place, int]) -> None:
        """Go on with paused partitions at these offsets. Raises KafkaException when one is no longer ours."""
        for place, offset in offsets.items():
            self._ends.pop(place, None)
            self._consumer.seek(TopicPartition(*place, offset))
        self.resume(offsets)

    def take_ends(self) -> dict[Place, int]:
        """Where partitions were seen to end, since the last call; all before is read."""
        ends, self._ends = self._ends, {}
        return ends

    def _subscribe(self) -> None:
        self._reach.reached()
        self._consumer = Consumer(dict(self._settings), logger=ClientLog(_LOG))
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _meet(self, message: Message, error: KafkaError) -> None:
        if error.code() == _END:
            self._ends[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)
        else:
            meet(error)

    # ---- rebalances

    def _on_assign(self, consumer: Any, assigned: list[TopicPartition]) -> None:
        places = {(tp.topic, tp.partition) for tp in assigned}
        assign_paused(
            consumer, sorted(places), consumer.assign if self._eager else consumer.incremental_assign
        )
        self._held.add(consumer, places)
        self._paused -= places
        self.pause(places)
        whole = {p for _, p in places if all((topic, p) in self._held for topic in self._topics)}
        fresh = sorted(whole - self._whole)
        self._whole |= whole
        if fresh and self._rebalances is not None:
            self._rebalances.assigned(fresh)

    def _on_revoke(self, consumer: Any, revoked: list[TopicPartition]) -> None:
        places = [(tp.topic, tp.partition) for tp in revoked]
        self._release(consumer, revoked, lost=self._held.lost(consumer, places))

    def _on_lost(self, consumer: Any, lost: list[TopicPartition]) -> None:
        self._release(consumer, lost, lost=True)

    def _release(self, consumer: Any, gone: list[TopicPartition], *, lost: bool) -> None:
        places = {(tp.topic, tp.partition) for tp in gone}
        numbers = sorted({p for _, p in places} & self._whole)
        try:
            if numbers and self._rebalances is not None:
                self._rebalances.revoked(numbers, lost=lost)
        finally:
            self._whole.difference_update(numbers)
            self._held.remove(places)
            self._paused -= places
            if self._eager:
                consumer.unassign()
            else:
                consumer.incremental_unassign([TopicPartition(*place) for place in sorted(places)])
                self.pause([(topic, p) for topic in self._topics for p in numbers])

    def _see_together(self) -> None:
        """Raise BrokerError when a partition of one topic stays with us without its likes of the other topics."""
        alone = sorted({p for _, p in self._held} - self._whole)
        now = time.monotonic()
        if not alone:
            self._apart_since = None
        elif self._apart_since is None:
            self._apart_since = now  # others may be giving theirs up right now
        elif now - self._apart_since > _APART_S:
            raise BrokerError(
                f"partitions {alone[:5]} of {', '.join(self._topics)} are not assigned together: all members must "
                "ask for the range assignor, and the topics must have equally many partitions. Cure: stop other "
                f"programs of group {self._settings['group.id']!r}; `stream-infer topics show` says what is wrong "
                "with the topics"
            )

    def _replace(self, reason: str) -> None:
        _LOG.warning("new consumer", reason=reason)
        if self._rebalances is not None and self._whole:
            self._rebalances.revoked(sorted(self._whole), lost=True)
        self._whole.clear()
        self._held.clear()
        self._consumer.close()
        self._paused.clear()
        self._subscribe()
