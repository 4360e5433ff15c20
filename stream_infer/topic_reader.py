"""Reading what is committed in a topic now, to its end, by an assignment of one's own: no group, no offsets moved."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from stream_infer.delivery.settings import reader_settings
from stream_infer.errors import BrokerError

__all__ = ["TopicReader", "offset_of"]

_CHUNK = 500
_SILENCE_S = 10.0
_ASK_AGAIN_S = 0.1
_NOT_YET = {
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - confluent-kafka's public name for it
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}
"""What client and brokers may say of a partition that has just been listed."""
_MADE_BY = {"compare.verdict_topic": "stream-infer compare"}


class TopicReader:
    """Reads committed records of one topic. ``setting`` names the topic in errors, as in ``output.reject_topic``."""

    def __init__(self, consumer: Consumer, topic: str, setting: str, timeout_s: float) -> None:
        self.topic = topic
        self._consumer = consumer
        self._setting = setting
        self._timeout_s = timeout_s

    @classmethod
    def open(
        cls, client: Mapping[str, Any], extra: Mapping[str, Any], topic: str, setting: str, timeout_s: float
    ) -> Self:
        """Connect with these librdkafka settings. Close it after use."""
        settings = reader_settings(client, extra, "stream-infer-reader")
        logger = logging.getLogger("stream_infer.topic_reader.client")
        logger.addHandler(logging.NullHandler())
        return cls(Consumer(settings, logger=logger), topic, setting, timeout_s)

    def close(self) -> None:
        """Let the brokers go."""
        self._consumer.close()

    def partitions(self) -> list[int]:
        """Return the topic's partitions. Raises BrokerError where there is no such topic, or no answer."""
        deadline_s = time.monotonic() + self._timeout_s
        described = self._described()
        while _has_no_leader_yet(described) and time.monotonic() < deadline_s:
            time.sleep(_ASK_AGAIN_S)
            described = self._described()
        if described.error is not None or not described.partitions:
            raise BrokerError(
                f"{self._setting} = {self.topic} does not exist: correct the name, or "
                f"`{_MADE_BY.get(self._setting, 'stream-infer topics create')}` makes it"
            )
        return sorted(described.partitions)

    def spans(self, since_ms: int = -1) -> dict[int, tuple[int, int]]:
        """First and last + 1 offset of every partition that has records since then (epoch ms, -1 = ever)."""
        deadline_s = time.monotonic() + self._timeout_s
        found = {}
        for partition in self.partitions():
            while partition not in found:
                try:
                    found[partition] = self._span(partition, since_ms)
                except KafkaException as failure:
                    error: KafkaError = failure.args[0]
                    if error.code() not in _NOT_YET or time.monotonic() > deadline_s:
                        raise BrokerError(f"the brokers do not answer: {error.str()}") from None
                    time.sleep(_ASK_AGAIN_S)
        return {partition: (max(low, 0), high) for partition, (low, high) in found.items() if low < high}

    def chunks(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[list[Message]]:
        """Records of these spans, partition by partition in offset order, some at a time.

        Each partition ends at its span's end, or where its committed part ends. Raises BrokerError where the brokers
        are silent for too long, or the topic cannot be read.
        """
        for partition, (first, end) in sorted(spans.items()):
            self._consumer.assign([TopicPartition(self.topic, partition, first or OFFSET_BEGINNING)])
            done = False
            while not done:
                first_message = self._consumer.poll(_SILENCE_S)
                if first_message is None:
                    raise BrokerError(f"{self.topic}[{partition}]: no answer for {_SILENCE_S:g} s")
                # consume() alone would wait for a full chunk.
                messages = (first_message, *self._consumer.consume(_CHUNK, 0))
                done = any(_ends(message, end) for message in messages)
                yield [one for one in messages if one.error() is None and offset_of(one) < end]
        self._consumer.unassign()

    def _described(self) -> Any:
        try:
            listed = self._consumer.list_topics(self.topic, timeout=self._timeout_s)
        except KafkaException as failure:
            raise BrokerError(f"the brokers do not answer: {failure.args[0].str()}") from None
        return listed.topics[self.topic]

    def _span(self, partition: int, since_ms: int) -> tuple[int, int]:
        where = TopicPartition(self.topic, partition)
        low, high = self._consumer.get_watermark_offsets(where, timeout=self._timeout_s)
        if since_ms > 0:
            where.offset = since_ms
            found = self._consumer.offsets_for_times([where], timeout=self._timeout_s)[0].offset
            low = high if found == OFFSET_END else max(low, found)
        return low, high


def _has_no_leader_yet(described: Any) -> bool:
    """Whether a topic was made so lately that its brokers are still agreeing on it."""
    return described.error is not None and described.error.code() == KafkaError.LEADER_NOT_AVAILABLE


def offset_of(message: Message) -> int:
    """Where a message that was read lies."""
    # Only a message that was never sent has none.
    return cast("int", message.offset())


def _ends(message: Message, end: int) -> bool:
    """Whether a partition's span is read: by its last record, or by the end of what is committed."""
    error = message.error()
    if error is None:
        return offset_of(message) + 1 >= end
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (that is its name)
        return True
    raise BrokerError(f"{message.topic()}[{message.partition()}] cannot be read: {error.str()}")
