"""Reading the reject topic, and sending its records back to where they came from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stream_infer.errors import BrokerError
from stream_infer.rejects import Reject, foreign
from stream_infer.topic_reader import TopicReader, offset_of

__all__ = ["Filter", "RejectTopic", "Replay", "StoredReject"]


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
    """Reads committed rejects; it joins no group and moves no offsets."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, client: Mapping[str, Any], extra: Mapping[str, Any], topic: str, timeout_s: float) -> Self:
        """Connect with these librdkafka settings. Close it after use."""
        return cls(TopicReader.open(client, extra, topic, "output.reject_topic", timeout_s))

    def close(self) -> None:
        """Let the brokers go."""
        self._reader.close()

    def select(self, wanted: Filter) -> Iterator[StoredReject]:
        """Yield the rejects meant that are there now, partition by partition in offset order.

        What is written meanwhile is left out. Records that are no rejects are left out, too.
        Raises BrokerError where the topic is missing or the brokers are silent for too long.
        """
        for messages in self._reader.chunks(self._reader.spans(wanted.since_ms)):
            for stored in map(_stored, messages):
                if stored is not None and wanted.takes(stored.reject):
                    yield stored

    def record(self, partition: int, offset: int) -> StoredReject | None:
        """Return one reject; None where there is none at this place."""
        if partition not in self._reader.partitions():
            return None
        for messages in self._reader.chunks({partition: (offset, offset + 1)}):
            for message in messages:
                if offset_of(message) == offset:
                    return _stored(message)
        return None


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


def _stored(message: Message) -> StoredReject | None:
    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    reject = Reject.parse(headers)
    if reject is None:
        return None
    key, value = message.key(), message.value()
    return StoredReject(cast("int", message.partition()), offset_of(message), reject, key, value, headers)
