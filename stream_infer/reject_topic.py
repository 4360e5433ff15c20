"""Reading the reject topic, and sending its records back to where they came from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from stream_infer.delivery.settings import reader_settings
from stream_infer.errors import BrokerError
from stream_infer.rejects import Reject, foreign

__all__ = ["Filter", "RejectTopic", "Replay", "StoredReject"]

_CHUNK = 500
_SILENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A record of the reject topic: where it lies there, what its headers say, and its original parts."""

    partition: int
    offset: int
    reject: Reject
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rejects are meant; what is None or negative does not matter."""

    stage: str | None = None
    error: str | None = None
    since_ms: int = -1

    def takes(self, reject: Reject) -> bool:
        """Say whether this reject is meant."""
        return (
            self.stage in {None, reject.stage}
            and self.error in {None, reject.error}
            and reject.time_ms >= self.since_ms
        )


class RejectTopic:
    """Reads committed rejects by its own assignment: it joins no group and moves no offsets."""

    def __init__(self, consumer: Consumer, topic: str, timeout_s: float) -> None:
        self._consumer = consumer
        self._topic = topic
        self._timeout_s = timeout_s

    @classmethod
    def open(cls, client: Mapping[str, Any], extra: Mapping[str, Any], topic: str, timeout_s: float) -> Self:
        """Connect with these librdkafka settings. Close it after use."""
        settings = reader_settings(client, extra, "stream-infer-rejects")
        logger = logging.getLogger("stream_infer.reject_topic.client")
        logger.addHandler(logging.NullHandler())
        return cls(Consumer(settings, logger=logger), topic, timeout_s)

    def close(self) -> None:
        """Let the brokers go."""
        self._consumer.close()

    def select(self, wanted: Filter) -> Iterator[StoredReject]:
        """Yield the rejects meant that are there now, partition by partition in offset order.

        What is written meanwhile is left out. Records that are no rejects are left out, too.
        Raises BrokerError where the topic is missing or the brokers are silent for too long.
        """
        spans = self._spans(wanted.since_ms)
        for message in self._read(spans):
            stored = _stored(message)
            if stored is not None and wanted.takes(stored.reject):
                yield stored

    def record(self, partition: int, offset: int) -> StoredReject | None:
        """Return one reject; None where there is none at this place."""
        if partition not in self._partitions():
            return None
        for message in self._read({partition: (offset, offset + 1)}):
            if _offset(message) == offset:
                return _stored(message)
        return None

    def _partitions(self) -> list[int]:
        try:
            listed = self._consumer.list_topics(self._topic, timeout=self._timeout_s)
        except KafkaException as failure:
            raise BrokerError(f"the brokers do not answer: {failure.args[0].str()}") from None
        described = listed.topics[self._topic]
        if described.error is not None or not described.partitions:
            raise BrokerError(
                f"output.reject_topic = {self._topic} does not exist: "
                "correct the name, or `stream-infer topics create`"
            )
        return sorted(described.partitions)

    def _spans(self, since_ms: int) -> dict[int, tuple[int, int]]:
        """First and last + 1 offset of every partition that has records since then."""
        spans = {}
        try:
            for partition in self._partitions():
                where = TopicPartition(self._topic, partition)
                low, high = self._consumer.get_watermark_offsets(where, timeout=self._timeout_s)
                if since_ms > 0:
                    where.offset = since_ms
                    found = self._consumer.offsets_for_times([where], timeout=self._timeout_s)[0].offset
                    low = high if found == OFFSET_END else max(low, found)
                if low < high:
                    spans[partition] = (max(low, 0), high)
        except KafkaException as failure:
            raise BrokerError(f"the brokers do not answer: {failure.args[0].str()}") from None
        return spans

    def _read(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[Message]:
        """Records of these spans. Each partition ends at its span's end, or where the committed part ends."""
        for partition, (first, end) in sorted(spans.items()):
            self._consumer.assign([TopicPartition(self._topic, partition, first or OFFSET_BEGINNING)])
            done = False
            while not done:
                first_message = self._consumer.poll(_SILENCE_S)
                if first_message is None:
                    raise BrokerError(f"{self._topic}[{partition}]: no answer for {_SILENCE_S:g} s")
                # consume() alone would wait for a full chunk.
                for message in (first_message, *self._consumer.consume(_CHUNK, 0)):
                    done = done or _ends(message, end)
                    if message.error() is None and _offset(message) < end:
                        yield message
        self._consumer.unassign()


class Replay:
    """Sends original records to a topic by an idempotent producer, and counts what the brokers confirmed."""

    def __init__(self, producer: Producer, topic: str, partition_count: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partition_count = partition_count
        self.sent_count = 0
        self.failure: str | None = None

    @classmethod
    def open(cls, settings: Mapping[str, Any], topic: str, partition_count: int) -> Self:
        """Connect with these librdkafka settings. ``partition_count`` is the topic's."""
        logger = logging.getLogger("stream_infer.reject_topic.client")
        logger.addHandler(logging.NullHandler())
        fixed = {"enable.idempotence": True, "acks": "all", "message.max.bytes": 100_000_000}
        return cls(Producer({**settings, **fixed}, logger=logger), topic, partition_count)

    def send(self, rejects: Iterable[StoredReject], limit: int) -> int:
        """Send at most ``limit`` records, wait for all, and return how many the brokers confirmed.

        A record keeps its key, value, headers (without ours), timestamp, and partition where there is
        one of that number. Raises BrokerError, which says how many arrived, at the first that does not.
        """
        for number, stored in enumerate(rejects):
            if number >= limit or self.failure:
                break
            self._produce(stored)
        self._producer.flush()
        if self.failure:
            raise BrokerError(
                f"{self._topic} took {self.sent_count} records, then refused one: {self.failure}; "
                "those sent stay sent"
            )
        return self.sent_count

    def _produce(self, stored: StoredReject) -> None:
        reject = stored.reject
        parts: dict[str, Any] = {
            "value": stored.value,
            "key": stored.key,
            "headers": foreign(stored.headers) or None,
            "on_delivery": self._count,
        }
        if reject.source.partition < self._partition_count:
            parts["partition"] = reject.source.partition
        if reject.source_time_ms > 0:
            parts["timestamp"] = reject.source_time_ms
        while True:
            try:
                self._producer.produce(self._topic, **parts)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as failure:
                self.failure = failure.args[0].str()
                return
            else:
                self._producer.poll(0)
                return

    def _count(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.sent_count += 1
        else:
            self.failure = self.failure or error.str()


def _ends(message: Message, end: int) -> bool:
    """Whether a partition's span is read: by its last record, or by the end of what is committed."""
    error = message.error()
    if error is None:
        return _offset(message) + 1 >= end
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (that is its name)
        return True
    raise BrokerError(f"{message.topic()}[{message.partition()}] cannot be read: {error.str()}")


def _offset(message: Message) -> int:
    # Only a message that was never sent has none.
    return cast("int", message.offset())


def _stored(message: Message) -> StoredReject | None:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    reject = Reject.parse(headers)
    if reject is None:
        return None
    key, value = message.key(), message.value()
    return StoredReject(cast("int", message.partition()), _offset(message), reject, key, value, headers)
