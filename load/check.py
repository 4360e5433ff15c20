"""A fast wrong run is a failed run: what was written is read back and compared with a recomputation."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from numpy.typing import NDArray

from load.clients import FAILOVER
from load.stand import Stand
from load.topics import partitions_of
from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SchemaSource, SingleSchema
from stream_infer.delivery.source import batch_of
from stream_infer.models.loading import load_model
from stream_infer.records import Batch
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable

__all__ = ["Framed", "Scored", "check", "messages_of", "reader", "scored_columns", "scored_decoder"]

_AT_ONCE = 5_000
_TOLERANCE = 1e-5
_END = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public name for it


class Framed(SingleSchema):
    """One schema for all payloads, whatever id they name."""

    framed = True


@dataclass(frozen=True)
class Scored:
    """A scored topic as columns, by source position: keys are partition * 2^48 + offset."""

    key: NDArray[np.int64]
    score: NDArray[np.float64]
    written_ms: NDArray[np.int64]


def reader(servers: str) -> Consumer:
    """A read_committed consumer without a group that stops at ends."""
    return Consumer(
        {
            **FAILOVER,
            "bootstrap.servers": servers,
            "group.id": f"reader-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 2,
        }
    )


def check(stand: Stand, topic: str) -> Scored:
    """Raise unless each event of the topic was scored once, with the score of a recomputation."""
    scored = _scored(stand, topic)
    expected = _recomputed(stand, topic)
    keys, counts = np.unique(scored.key, return_counts=True)
    if (counts > 1).any() or len(keys) != len(expected.key) or (keys != np.sort(expected.key)).any():
        raise RuntimeError(
            f"{topic}: {len(expected.key)} events, {len(keys)} scored, {int((counts > 1).sum())} twice"
        )
    got, wanted = scored.score[np.argsort(scored.key)], expected.score[np.argsort(expected.key)]
    worst = float(np.max(np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted)), initial=0.0))
    if worst > _TOLERANCE:
        raise RuntimeError(f"{topic}: a score is off by {worst:.2g} of itself")
    return scored


def scored_columns(
    messages: list[Message], decoder: Decoder
) -> tuple[NDArray[np.float64], NDArray[np.int64], Batch]:
    """Score, source partition and offset (m, 3), and the time (m) of scored events."""
    batch = batch_of(messages)
    decoded = decoder.decode(batch)
    if len(decoded.columns) != len(batch):
        raise RuntimeError(f"scored events cannot be read: {decoded.rejects.faults[:1]}")
    return decoded.columns.features, decoded.columns.time_ms, batch


def scored_decoder(text: str = "entity") -> Decoder:
    """Reads scored events, with ``text`` as the entity column; that this decoder equals fastavro is tested."""
    wanted = ("score", "source_partition", "source_offset")
    return Decoder(Framed(schemas.text("scored_event")), Fields(wanted, len(wanted), text, "time", None))


def _scored(stand: Stand, topic: str) -> Scored:
    decoder = scored_decoder()
    parts = [scored_columns(messages, decoder) for messages in messages_of(stand.servers, f"{topic}.scored")]
    values = np.concatenate([part[0] for part in parts])
    written = np.concatenate([part[2].timestamp_ms for part in parts])
    return Scored(_key(values[:, 1].astype(np.int64), values[:, 2].astype(np.int64)), values[:, 0], written)


def _recomputed(stand: Stand, topic: str) -> Scored:
    traffic = stand.traffic(topic)
    loaded = load_model(stand.model_of(traffic))
    source: SchemaSource = Framed(traffic.schema)
    named = traffic.setting if traffic.form == "array" else loaded.manifest.features
    decoder = Decoder(source, Fields(named, loaded.layout.features, "entity_id", "ts", "event_id"))
    table = EntityTable(loaded.layout, loaded.profiles)
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, table)
    keys, scores = [], []
    for messages in messages_of(stand.servers, topic):
        batch = batch_of(messages)
        columns = decoder.decode(batch).columns
        kept, found, _ = scorer.score(columns, batch.partition[columns.rows], batch.offset[columns.rows])
        rows = columns.rows[kept]
        keys.append(_key(batch.partition[rows].astype(np.int64), batch.offset[rows]))
        scores.append(found.score)
    key = np.concatenate(keys)
    return Scored(key, np.concatenate(scores), np.zeros(len(key), np.int64))


def _key(partition: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    return partition * 2**48 + offset


def messages_of(servers: str, topic: str) -> Iterator[list[Message]]:
    """Everything in a topic, in order per partition."""
    consumer = reader(servers)
    try:
        open_partitions = set(partitions_of(consumer, topic))
        consumer.assign([TopicPartition(topic, p, 0) for p in open_partitions])
        while open_partitions:
            found = consumer.consume(_AT_ONCE, 0.2)
            good = [message for message in found if message.error() is None]
            ended = {m.partition() for m in found if m.error() is not None and m.error().code() == _END}
            open_partitions -= ended
            if good:
                yield good
    finally:
        consumer.close()
