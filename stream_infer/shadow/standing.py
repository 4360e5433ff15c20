"""How far the primary is, and where things lie in its topics: questions to the brokers, by clients without a group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.settings import Settings
from stream_infer.errors import BrokerError
from stream_infer.log import get_logger
from stream_infer.shadow.pairing import Beside

__all__ = ["KeyOf", "Seeker", "Standing", "Start", "Topics"]

_LOG = get_logger(__name__)
_ASK_S = 5.0
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public name for it

KeyOf = Callable[[Message], int | None]
"""The offset of the input record that a record of the primary belongs to; None where it says nothing."""


class Topics(NamedTuple):
    """The topics that a shadow reads."""

    input: str
    scored: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Start:
    """A place in the input: its beginning or end, where the primary is, an offset, or a time (epoch ms)."""

    kind: Literal["earliest", "latest", "primary", "offset", "time"]
    value: int = 0


class Standing:
    """Asks about the primary's group. ``settings`` are a reader's with the primary's group id.

    It reads uncommitted: the ends it gives are those of all records, what is in open transactions included.
    """

    def __init__(self, settings: Settings, topics: Topics, *, primary_starts_at_end: bool) -> None:
        self._settings = {**settings, "isolation.level": "read_uncommitted"}
        self._topics = topics
        self._primary_starts_at_end = primary_starts_at_end
        self._consumer: Any = None

    def close(self) -> None:
        """Let go of the client."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def partition_count(self) -> int:
        """Partitions of the input."""
        listed = self._client().list_topics(self._topics.input, timeout=_ASK_S)
        return len(listed.topics[self._topics.input].partitions)

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """What the primary has committed of the input; None where nothing. Raises KafkaException."""
        wanted = [TopicPartition(self._topics.input, p) for p in partitions]
        found = self._client().committed(wanted, _ASK_S)
        for entry in found:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {entry.partition: entry.offset if entry.offset >= 0 else None for entry in found}

    def decided(self, partitions: Iterable[int]) -> dict[int, tuple[int, Beside]]:
        """The offset below which the primary is done, and ends behind all that it wrote of those events."""
        committed = self.committed(partitions)
        return {
            p: (offset, Beside(self._end(self._topics.scored, p), self._end(self._topics.rejected, p)))
            for p, offset in committed.items()
            if offset is not None
        }

    def offset_of(self, start: Start, partition: int) -> int:
        """The offset of a place in a partition of the input, within what there is. Raises KafkaException."""
        where = TopicPartition(self._topics.input, partition)
        low, high = self._client().get_watermark_offsets(where, _ASK_S)
        if start.kind == "earliest":
            return int(low)
        if start.kind == "latest":
            return int(high)
        if start.kind == "time":
            found = self._client().offsets_for_times(
                [TopicPartition(self._topics.input, partition, start.value)], _ASK_S
            )[0]
            wanted = found.offset if found.offset >= 0 else high
        elif start.kind == "primary":
            committed = self.committed([partition])[partition]
            wanted = (high if self._primary_starts_at_end else low) if committed is None else committed
        else:
            wanted = start.value
        return int(min(max(wanted, low), high))

    def _end(self, topic: str, partition: int) -> int:
        return int(self._client().get_watermark_offsets(TopicPartition(topic, partition), _ASK_S)[1])

    def _client(self) -> Any:
        if self._consumer is None:
            self._consumer = Consumer(dict(self._settings), logger=ClientLog(_LOG))
        return self._consumer


class Seeker:
    """Finds positions in the primary's topics by the input offset that their records name.

    These offsets rise in each partition (under at-least-once but for repeats, of which any will do), so a position is
    found by bisection: a record is read in the middle of what is left. ``progress`` is called before each.
    """

    def __init__(
        self, settings: Settings, topics: Topics, scored: KeyOf, rejected: KeyOf, progress: Callable[[], None]
    ) -> None:
        # One record is wanted of each fetch.
        self._settings = {**settings, "fetch.message.max.bytes": 65_536, "queued.min.messages": 1}
        self._topics = topics
        self._scored = scored
        self._rejected = rejected
        self._progress = progress

    def beside(self, partition: int, paired_from: int) -> Beside:
        """Positions from which on all results of events from ``paired_from`` on lie. Raises KafkaException."""
        consumer = Consumer(dict(self._settings), logger=ClientLog(_LOG))
        try:
            found = Beside(
                self._first(
                    consumer, TopicPartition(self._topics.scored, partition), self._scored, paired_from
                ),
                self._first(
                    consumer, TopicPartition(self._topics.rejected, partition), self._rejected, paired_from
                ),
            )
        finally:
            consumer.close()
        _LOG.info(
            "found", partition=partition, input=paired_from, scored=found.scored, rejected=found.rejected
        )
        return found

    def _first(self, consumer: Any, where: TopicPartition, key_of: KeyOf, wanted: int) -> int:
        low, high = consumer.get_watermark_offsets(where, _ASK_S)
        while low < high:
            middle = (low + high) // 2
            message = self._read(consumer, TopicPartition(where.topic, where.partition, middle))
            key = None if message is None else key_of(message)
            # Where nothing can be said, earlier is safe: results of earlier events are left out.
            if message is None or key is None or key >= wanted:
                high = middle
            else:
                low = int(message.offset() or 0) + 1
        return int(low)

    def _read(self, consumer: Any, where: TopicPartition) -> Message | None:
        """The first record at an offset or behind it; None where the partition ends before one."""
        consumer.assign([where])
        deadline = time.monotonic() + _ASK_S
        while time.monotonic() < deadline:
            self._progress()
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found: Message = message
                return found
            if error.code() == _END:
                return None
            if error.fatal():
                raise BrokerError(f"{where.topic}: {error.str()}. Cure: start the shadow again")
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no record of {where.topic} in time"))  # noqa: SLF001
