"""Reading scored records as any consumer would: plain Avro, committed only."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import fastavro
from confluent_kafka import Consumer, Message, TopicPartition

from stream_infer.avro import schemas
from stream_infer.demo.traffic import row_of

__all__ = ["ScoredReader", "ScoredRecord", "Topics", "assigned_consumer", "offset_of"]

_HEADER_BYTES = 5


@dataclass(frozen=True)
class Topics:
    """The topics of the demo."""

    input: str = "server-metrics"
    scored: str = "server-metrics.scored"
    rejected: str = "server-metrics.rejected"
    state: str = "demo.state"
    compared: str = "server-metrics.compared"
    shadow_state: str = "demo-shadow.state"
    verdicts: str = "server-metrics.verdicts"


@dataclass(frozen=True, slots=True)
class ScoredRecord:
    """What the audience wants of a scored event; ``row`` is the row of the data it was made of."""

    row: int
    entity: str
    time_ms: int
    score: float
    threshold: float
    is_anomaly: bool
    alert: str
    features: tuple[tuple[str, float], ...]
    partition: int
    offset: int

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """Take it from a decoded scored event."""
        return cls(
            row=row_of(event["event_id"]),
            entity=event["entity"],
            time_ms=round(event["time"].timestamp() * 1000),
            score=event["score"],
            threshold=event["threshold"],
            is_anomaly=event["is_anomaly"],
            alert=event["alert"],
            features=tuple((one["feature"], one["share"]) for one in event["contributions"]),
            partition=event["source_partition"],
            offset=event["source_offset"],
        )


class ScoredReader:
    """Decodes scored events with fastavro and the packaged schema: not with this project's own decoder."""

    def __init__(self) -> None:
        self._schema = fastavro.parse_schema(json.loads(schemas.text("scored_event")))

    def read(self, payload: bytes) -> ScoredRecord:
        """Decode one payload in the wire format."""
        body = io.BytesIO(payload)
        body.seek(_HEADER_BYTES)
        event: Any = fastavro.schemaless_reader(body, self._schema, None)
        return ScoredRecord.of(event)


def assigned_consumer(servers: str, topics: tuple[str, ...], partitions: int, **settings: Any) -> Consumer:
    """Open a read_committed consumer of all partitions of these topics from their beginning; it joins no group."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "demo-audience",  # the client wants one; nothing is committed to it
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            # Silent: it would write into the live view. Whether Kafka runs, the stage knows.
            "log_level": 0,
            "error_cb": lambda _: None,
            "fetch.queue.backoff.ms": 20,
            **settings,
        }
    )
    consumer.assign([TopicPartition(topic, index, 0) for topic in topics for index in range(partitions)])
    return consumer


def offset_of(message: Message) -> tuple[int, int]:
    """Return partition and offset of a record that was read."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
