"""The source of a shadow: batches of input rows that the primary has decided on, with what it said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

from confluent_kafka import Message, TopicPartition

from stream_infer.delivery.membership import Membership
from stream_infer.delivery.source import BatchLimits, Committed, Rebalances, batch_of
from stream_infer.log import get_logger
from stream_infer.records import Batch
from stream_infer.shadow import batches
from stream_infer.shadow.member import Member, Place
from stream_infer.shadow.outcomes import Outcomes, paired
from stream_infer.shadow.pairing import Beside, Pairing, Ready
from stream_infer.shadow.primary import PrimaryReader
from stream_infer.shadow.rate import Rate
from stream_infer.shadow.rows import InputRows
from stream_infer.shadow.standing import Topics
from stream_infer.shadow.waiting import Waiting

__all__ = ["Guide", "HoldLimits", "ShadowSource"]

_LOG = get_logger(__name__)
_RETRY_S = 1.0
_LEAST_SHARE_BYTES = 131_072


class Guide(Protocol):
    """Knows the primary's topics and its group."""

    def beside(self, partition: int, paired_from: int) -> Beside:
        """Positions from which on all results of events from ``paired_from`` on lie."""

    def decided(self, partitions: Iterable[int]) -> dict[int, tuple[int, Beside]]:
        """The offset below which the primary is done, and ends behind all that it wrote of those events."""

    def stop_at(self, partition: int) -> int | None:
        """Where a partition ends, exclusive; None: never."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """A batch's size, and the memory of all rows that wait for the other side."""

    batch: BatchLimits
    held_bytes: int


class ShadowSource:
    """Reads input, scored and reject topic and gives out batches as a worker's source does.

    The side that is ahead waits: a partition of a topic whose rows fill their share of the memory is paused.
    ``outcomes`` are those of the batch given out last. ``publish_from`` gives the first offset to pair of a partition.
    """

    def __init__(
        self,
        member: Member,
        topics: Topics,
        reader: PrimaryReader,
        guide: Guide,
        limits: HoldLimits,
        rate: Rate,
        waiting: Waiting,
        publish_from: Callable[[int], int],
    ) -> None:
        self.cut_by = "empty"
        self.outcomes = Outcomes.none()
        self._member = member
        self._topics = topics
        self._reader = reader
        self._guide = guide
        self._limits = limits
        self._rate = rate
        self._waiting = waiting
        self._publish_from = publish_from
        self._rebalances: Rebalances | None = None
        self._owned: set[int] = set()
        self._pairings: dict[int, Pairing] = {}
        self._marks: dict[int, list[tuple[int, Beside]]] = {}
        self._full: set[Place] = set()
        self._undecoded: list[Message] = []
        self._decode_again_at = 0.0
        self._more = False

    # ---- what a worker calls

    def open(self, rebalances: Rebalances) -> None:
        """Join the group."""
        self._rebalances = rebalances
        self._member.open(self)

    def close(self) -> None:
        """Leave the group."""
        self._member.close()

    def poll(self, wait_s: float) -> Batch | None:
        """Take what arrived, and give out what is decided. Raises BrokerError on what no retry mends."""
        now = time.monotonic()
        allowed = self._rate.allowed(now, self._limits.batch.max_events)
        if self._more or self._undecoded:
            wait_s = 0.0 if allowed and self._more else min(wait_s, _RETRY_S / 10)
        self._take(self._member.poll(min(wait_s, self._rate.wait_s()), 2 * self._limits.batch.max_events))
        ready = self._give(allowed)
        self._balance()
        self._ask(time.monotonic())
        if not ready:
            self.cut_by = "empty"
            return None
        batch, self.outcomes = paired(ready)
        self._rate.used(len(batch))
        self.cut_by = "max_events" if len(batch) >= self._limits.batch.max_events else "arrived"
        return batch

    def serve(self) -> None:
        """Serve a pending rebalance without taking a batch."""
        self._take(self._member.poll(0, 1))

    def membership(self) -> Membership:
        """The live membership. Raises NotAMember."""
        return self._member.membership()

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[int, Committed]:
        """Committed offsets of the input; those of the other topics are remembered for ``resume_at``."""
        wanted = list(partitions)
        found = self._member.committed(wanted, timeout_s)
        for p in wanted:
            beside = Beside(*(found[topic, p].offset for topic in self._topics[1:]))
            position = found[self._topics.input, p].offset
            self._marks[p] = [(position, beside)] if min(position, *beside) >= 0 else []
        entries = {p: found[self._topics.input, p] for p in wanted}
        return {
            p: Committed(e.offset if e.offset >= 0 else None, e.metadata or "") for p, e in entries.items()
        }

    def bounds(self, partition: int, timeout_s: float) -> tuple[int, int]:
        """First offset and end of a partition of the input."""
        return self._member.bounds(self._topics.input, partition, timeout_s)

    def end_seen(self, partition: int) -> int | None:
        """End of a partition of the input as of the last fetch, or None."""
        return self._member.end_seen(self._topics.input, partition)

    @property
    def paused_count(self) -> int:
        """Partitions that wait for a restore or a schema."""
        return len(self._owned) - len(self._pairings)

    def pause(self, partitions: Iterable[int]) -> None:
        """Give up what is held of these partitions, until ``resume_at``."""
        for p in partitions:
            self._pairings.pop(p, None)
            self._full.difference_update(self._places(p))
            self._member.pause(self._places(p))

    def resume_at(self, partition: int, offset: int) -> None:
        """Read the input from an offset, and the other topics from where its results are. Raises KafkaException."""
        paired_from = max(offset, self._publish_from(partition))
        beside = self._mark(partition, paired_from)
        if beside is None:
            beside = self._guide.beside(partition, paired_from)
            self._marks[partition] = [(paired_from, beside)]
        self._member.resume_at(dict(zip(self._places(partition), (offset, *beside), strict=True)))
        stop_at = self._guide.stop_at(partition)
        self._pairings[partition] = Pairing(partition, offset, paired_from, beside, stop_at)

    # ---- what a delivery and others ask

    def beside(self, positions: dict[int, int]) -> list[TopicPartition]:
        """Offsets of the other topics to commit with these of the input."""
        found = []
        for p, position in positions.items():
            pairing = self._pairings.get(p)
            beside = self._mark(p, position) if pairing is None else pairing.beside(position)
            if beside is not None:
                # Until the next commit it is not known whether this one counts: the one before is kept, too.
                self._marks[p] = [*self._marks.get(p, [])[-1:], (position, beside)]
                found += [TopicPartition(t, p, o) for t, o in zip(self._topics[1:], beside, strict=True)]
        return found

    def commit(self, positions: dict[int, int], note: Callable[[int, int], str]) -> None:
        """Commit offsets of all topics outside a transaction and wait for the answer. Raises KafkaException."""
        own = [TopicPartition(self._topics.input, *entry, note(*entry)) for entry in positions.items()]
        self._member.commit([*own, *self.beside(positions)])

    @property
    def exhausted(self) -> bool:
        """Whether all rows up to the stop were given out, in all partitions."""
        pairings = self._pairings
        return (
            bool(pairings)
            and len(pairings) == len(self._owned)
            and all(p.exhausted for p in pairings.values())
        )

    @property
    def held_bytes(self) -> int:
        """Memory of the rows that wait."""
        return sum(sum(queue.bytes_count for queue in p.queues) for p in self._pairings.values())

    def take_repeated(self) -> int:
        """Results that came a second time, since the last call."""
        return sum(pairing.take_repeated() for pairing in self._pairings.values())

    # ---- rebalances

    def assigned(self, partitions: Sequence[int]) -> None:
        """These partitions of all topics are ours."""
        self._owned.update(partitions)
        if self._rebalances is not None:
            self._rebalances.assigned(partitions)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """These are ours no longer."""
        if self._rebalances is not None:
            self._rebalances.revoked(partitions, lost=lost)
        for p in partitions:
            self._owned.discard(p)
            self._pairings.pop(p, None)
            self._marks.pop(p, None)
            self._full.difference_update(self._places(p))

    # ---- arrivals

    def _take(self, messages: list[Message]) -> None:
        if messages:
            of_topic = list(map(Message.topic, messages))
            inputs, scored, rejected = (
                list(compress(messages, map(topic.__eq__, of_topic))) for topic in self._topics
            )
            if inputs:
                self._take_inputs(inputs)
            self._undecoded += scored
            if rejected:
                for p, rejects in self._reader.rejected(rejected):
                    if p in self._pairings:
                        self._pairings[p].rejected.add(rejects)
        self._decode()
        for (topic, p), end in self._member.take_ends().items():
            if p in self._pairings and not (self._undecoded and topic == self._topics.scored):
                self._pairings[p].queues[self._topics.index(topic)].reached(end)

    def _take_inputs(self, messages: list[Message]) -> None:
        batch = batch_of(messages)
        for p, start, stop in batches.runs(batch):
            if p in self._pairings:
                part = batches.cut(batch, start, stop)
                self._pairings[p].add_input(InputRows(part.offset, part))

    def _decode(self) -> None:
        """Decode scored events; those whose schema cannot be had now, and all behind them, wait a second."""
        if not self._undecoded or time.monotonic() < self._decode_again_at:
            return
        found, self._undecoded = self._reader.scored(self._undecoded)
        if self._undecoded:
            self._decode_again_at = time.monotonic() + _RETRY_S
        for p, rows in found:
            if p in self._pairings:
                self._pairings[p].scored.add(rows)

    # ---- giving out

    def _give(self, limit: int) -> list[Ready]:
        found, left = [], limit
        for p in sorted(self._pairings):
            if left <= 0:
                break
            ready = self._pairings[p].ready(left)
            if ready is not None:
                found.append(ready)
                left -= len(ready.merged)
        self._more = left <= 0
        return found

    def _balance(self) -> None:
        """Pause what is too far ahead, go on with what was paused and is needed again."""
        share = max(_LEAST_SHARE_BYTES, self._limits.held_bytes // (3 * len(self._pairings) or 1))
        for p, pairing in self._pairings.items():
            for place, queue in zip(self._places(p), pairing.queues, strict=True):
                full = queue.bytes_count > (share // 2 if place in self._full else share)
                full |= bool(self._undecoded) and place[0] == self._topics.scored
                full |= pairing.stopped and place[0] == self._topics.input
                if full and place not in self._full:
                    self._member.pause([place])
                    self._full.add(place)
                elif not full and place in self._full:
                    self._full.discard(place)
                    self._member.resume([place])

    def _ask(self, now: float) -> None:
        """Where an event has been without a result for a while, ask the primary's group whether one is to come."""
        if not self._waiting.due(now):
            return
        waits = {p: key for p, pairing in self._pairings.items() if (key := pairing.waits_for) is not None}
        stuck = self._waiting.stuck(now, waits)
        for p, (decided, ends) in (self._guide.decided(stuck) if stuck else {}).items():
            if decided > waits[p]:
                self._pairings[p].fence(decided, ends)

    def _mark(self, partition: int, offset: int) -> Beside | None:
        """Where the other topics were when the input stood at an offset, or before."""
        marks = reversed(self._marks.get(partition, []))
        return next((beside for position, beside in marks if position <= offset), None)

    def _places(self, partition: int) -> list[Place]:
        return [(topic, partition) for topic in self._topics]
