"""Topics of a measurement: filled, counted, their groups waited for. ``NAME.events`` is read by the group ``NAME``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from load.traffic import Traffic

__all__ = [
    "PARTITIONS",
    "Record",
    "committed_count",
    "end_count",
    "fill",
    "fill_hidden",
    "group",
    "partitions_of",
    "records",
    "stamp",
    "wait_members",
]

PARTITIONS = 4

_AT_ONCE = 20_000
_MEMBERS_S = 120.0
_HIDDEN_S = 600

Record = tuple[bytes, bytes | None, int]
"""Key, value and partition."""


def records(traffic: Traffic, start: int, events: int) -> Iterator[Record]:
    """So many of a traffic's events; the partition is the entity's number."""
    for at in range(start, start + events, _AT_ONCE):
        count = min(_AT_ONCE, start + events - at)
        yield from zip(*traffic.pairs(at, count), traffic.partitions(at, count, PARTITIONS), strict=True)


def fill(servers: str, topic: str, content: Iterable[Record]) -> None:
    """Put records into a topic."""
    _produce(Producer(_filler(servers)), topic, content)


def fill_hidden(servers: str, topic: str, content: Iterable[Record]) -> Callable[[], None]:
    """Put records into a topic that nobody sees, all of them at once, until what is returned is called.

    One partition's records are followed by the marker of the transaction: offsets end one later.
    """
    producer = Producer(
        {
            **_filler(servers),
            "transactional.id": f"filler-{topic}",
            "transaction.timeout.ms": _HIDDEN_S * 1000,
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    _produce(producer, topic, content)
    return lambda: producer.commit_transaction(60)


def stamp(servers: str, topic: str) -> None:
    """Let the broker say when a record was written: some programs pass the input's time on."""
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry(
                "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
            )
        ],
    )
    admin = AdminClient({"bootstrap.servers": servers})  # it must live until it has answered
    admin.incremental_alter_configs([resource])[resource].result(120)


def wait_members(servers: str, topic: str, count: int) -> None:
    """Wait until a topic's group has so many members, and each has partitions."""
    admin = AdminClient({"bootstrap.servers": servers})
    deadline = time.monotonic() + _MEMBERS_S
    while True:
        try:
            found = admin.describe_consumer_groups([group(topic)])[group(topic)].result(60)
            shares = [len(member.assignment.topic_partitions) for member in found.members]
            stable = found.state is ConsumerGroupState.STABLE
        except KafkaException:
            shares, stable = [], False  # there is no such group yet
        # Some assignors write shares that only they can read.
        if sum(share > 0 for share in shares) == count or (stable and shares == [0] * count):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{topic}: {shares} partitions, {count} members were wanted")
        time.sleep(0.2)


def group(topic: str) -> str:
    """The consumer group of a deployment."""
    return topic.removesuffix(".events")


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The partitions of a topic."""
    return sorted(consumer.list_topics(topic, timeout=60).topics[topic].partitions)


def end_count(consumer: Consumer, topic: str) -> int:
    """Records of a topic, transaction markers included."""
    partitions = partitions_of(consumer, topic)
    return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), 60)[1] for p in partitions)


def committed_count(consumer: Consumer, topic: str) -> int:
    """Events that the consumer's group has committed; 0 while that is in doubt."""
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], 5)
    except KafkaException:
        return 0
    return sum(max(0, tp.offset) for tp in found)


def _filler(servers: str) -> dict[str, Any]:
    return {"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}


def _produce(producer: Producer, topic: str, content: Iterable[Record]) -> None:
    for count, (key, value, partition) in enumerate(content, 1):
        producer.produce(topic, value, key, partition)
        if not count % _AT_ONCE:
            producer.flush(60)
    producer.flush(60)
