"""The last look: input, scored and reject topic read back whole, record by record."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from confluent_kafka import KafkaError, Message

from stream_infer.demo.records import ScoredReader, ScoredRecord, Topics, assigned_consumer, offset_of
from stream_infer.errors import BrokerError
from stream_infer.models.dataset import Dataset
from stream_infer.models.evaluate import Quality, ScoredRows, evaluate
from stream_infer.rejects import Reject

__all__ = ["Audit", "audit", "measured"]

_SILENCE_S = 20.0
_TAKE = 5000
_ALERTS = ("none", "begins", "continues", "ends")

Position = tuple[int, int]


@dataclass
class Audit:
    """What the topics hold. ``sent`` is what the brokers confirmed to the producer.

    ``lost``: events without an outcome. ``duplicates``: outcomes beyond the first of an event, and outcomes of what
    was never an event. ``altered``: rejects that do not hold the event's own bytes.
    """

    sent: int
    inputs: dict[Position, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    scored: list[ScoredRecord] = field(default_factory=list)
    rejects: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Position] = field(default_factory=Counter)
    altered: int = 0

    @property
    def rejected(self) -> int:
        """Records of the reject topic."""
        return self.rejects.total()

    @property
    def lost(self) -> int:
        """Events without an outcome; one that never reached the input topic counts as well."""
        return sum(position not in self.outcomes for position in self.inputs) + max(
            0, self.sent - len(self.inputs)
        )

    @property
    def duplicates(self) -> int:
        """Outcomes beyond one for each event, and events beyond those that were sent."""
        beyond = sum(count - (position in self.inputs) for position, count in self.outcomes.items())
        return beyond + max(0, len(self.inputs) - self.sent)

    @property
    def anomalies(self) -> int:
        """Scored events at or over their threshold."""
        return sum(record.is_anomaly for record in self.scored)

    @property
    def is_sound(self) -> bool:
        """Whether every event ended exactly once, with its own bytes where it was rejected."""
        return self.lost == 0 and self.duplicates == 0 and self.altered == 0


def audit(servers: str, topics: Topics, partitions: int, sent: int) -> Audit:
    """Read all three topics from beginning to end. The worker has ended: what is not there does not come.

    Raises BrokerError where a topic cannot be read.
    """
    found = Audit(sent)
    rejected: list[tuple[Message, Reject | None]] = []
    reader = ScoredReader()
    for message in _whole(servers, (topics.input, topics.scored, topics.rejected), partitions):
        if message.topic() == topics.input:
            found.inputs[offset_of(message)] = (_bytes(message.key()), _bytes(message.value()))
        elif message.topic() == topics.scored:
            record = reader.read(cast("bytes", message.value()))
            found.scored.append(record)
            found.outcomes[record.partition, record.offset] += 1
        else:
            headers = cast("list[tuple[str, bytes | None]]", message.headers())
            rejected.append((message, Reject.parse(headers)))
    for message, reject in rejected:
        _judge(found, message, reject)
    return found


def measured(data: Dataset, scored: list[ScoredRecord]) -> Quality | None:
    """Hold the scores against the labels; None where nobody labelled these rows."""
    rows = np.array([record.row for record in scored], np.int64)
    if data.label is None or not (data.label[rows] >= 0).any():
        return None
    order = np.argsort(rows, kind="stable")  # the data is sorted by entity and time
    rows = rows[order]
    return evaluate(
        ScoredRows(
            entities=data.entities,
            features=data.feature_names,
            entity=data.entity[rows],
            seq=data.seq[rows],
            time_ms=data.time_ms[rows],
            label=data.label[rows],
            score=np.array([record.score for record in scored])[order],
            is_anomaly=np.array([record.is_anomaly for record in scored], np.bool_)[order],
            alert=np.array([_ALERTS.index(record.alert) for record in scored], np.uint8)[order],
            top=np.zeros((len(rows), 0), np.int32),
        )
    )


def _judge(found: Audit, message: Message, reject: Reject | None) -> None:
    """Hold a reject against the event it says it was."""
    if reject is None:
        found.rejects["unreadable headers"] += 1
        found.outcomes[-1, -1] += 1
        return
    position = reject.source.partition, reject.source.offset
    found.rejects[reject.error] += 1
    found.outcomes[position] += 1
    found.altered += found.inputs.get(position) != (_bytes(message.key()), _bytes(message.value()))


def _whole(servers: str, topics: tuple[str, ...], partitions: int) -> list[Message]:
    """Every committed record of the topics."""
    settings = {"enable.partition.eof": True}
    consumer = assigned_consumer(servers, topics, partitions, **settings)
    unread = {(topic, index) for topic in topics for index in range(partitions)}
    found: list[Message] = []
    deadline_s = time.monotonic() + _SILENCE_S
    try:
        while unread:
            messages = consumer.consume(_TAKE, 0.1)
            if messages:
                deadline_s = time.monotonic() + _SILENCE_S
            elif time.monotonic() > deadline_s:
                raise BrokerError(f"no answer for {_SILENCE_S:g} s while reading {sorted(unread)}")
            for message in messages:
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (that is its name)
                    unread.discard((str(message.topic()), cast("int", message.partition())))
                else:
                    raise BrokerError(f"{message.topic()} cannot be read back: {error.str()}")
    finally:
        consumer.close()
    return found


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
