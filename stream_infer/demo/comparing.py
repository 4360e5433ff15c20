"""The analysts of the demo: they read the comparisons as they come, judge, and write the report."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Message

from stream_infer.avro.source import SchemaSource
from stream_infer.comparison.labels import Label, Labels
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.offline import Comparison
from stream_infer.comparison.reading import PairReader
from stream_infer.comparison.report import render
from stream_infer.comparison.segments import ALL, Segments
from stream_infer.comparison.statistics import Count
from stream_infer.comparison.summary import verdicts
from stream_infer.comparison.verdict import Criteria
from stream_infer.demo.reading import Reading
from stream_infer.demo.records import offset_of
from stream_infer.errors import BrokerError
from stream_infer.models.dataset import Dataset

__all__ = ["BLOCK_S", "MINIMUM_EVENTS", "Compared", "Comparing"]

BLOCK_S = 600
MINIMUM_EVENTS = 10_000

_ENTITIES = 100


@dataclass(frozen=True)
class Compared:
    """Where the comparison stands. ``events`` are the comparisons, ``compared`` those with both scores."""

    events: int = 0
    compared: int = 0
    agreement: float | None = None
    verdict: str = "undecided"
    reason: str = ""


class Comparing:
    """Reads the comparison topic in a thread of its own. With labels in the data the verdict is about who is right."""

    def __init__(
        self, servers: str, topic: str, partitions: int, schemas: SchemaSource, data: Dataset
    ) -> None:
        self._topic = topic
        self._reading = Reading(servers, (topic,), partitions, self._take)
        self._reader = PairReader(schemas)
        labels = _labels(data)
        self._criteria = Criteria(minimum_events=MINIMUM_EVENTS, labelled=labels is not None)
        self._ledger = Ledger(Windows(block_s=BLOCK_S), Segments({}, _ENTITIES))
        self._comparison = Comparison(self._ledger, self._criteria, labels or Labels())
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin to read."""
        self._reading.open()

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self._reading.close()

    def standing(self) -> Compared:
        """Judge what was read so far. Raises what ended the reading, if anything did."""
        self._reading.check()
        with self._lock:
            totals = {
                versions: cells[0]
                for (versions, segment), cells in self._ledger.select("total").items()
                if segment == ALL
            }
            if not totals:
                return Compared()
            versions = max(totals, key=lambda one: totals[one].count(Count.EVENTS))
            judged = verdicts(self._ledger, self._criteria)[versions]
        both = sum(one.count(Count.BOTH) for one in totals.values())
        alike = sum(int(np.trace(one.flips)) for one in totals.values())
        return Compared(
            events=sum(one.count(Count.EVENTS) for one in totals.values()),
            compared=both,
            agreement=alike / both if both else None,
            verdict=judged.verdict,
            reason=judged.reason,
        )

    def write_report(self, path: Path) -> None:
        """Write the page, and the same in JSON beside it."""
        with self._lock:
            content = self._comparison.content(self._topic)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(content), encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                raise BrokerError(f"{self._topic} cannot be read: {error.str()}")
        places = [offset_of(one) for one in messages]
        pairs = self._reader.read(
            np.array([partition for partition, _ in places], np.int32),
            np.array([offset for _, offset in places], np.int64),
            [_value(one) for one in messages],
        )
        with self._lock:
            self._comparison.add(pairs)


def _labels(data: Dataset) -> Labels | None:
    """The labels of the data by event id, as ``traffic`` makes them; None where nobody labelled any."""
    if data.label is None or not (data.label >= 0).any():
        return None
    rows = np.flatnonzero(data.label >= 0).tolist()
    labels = Labels(len(rows))
    for row in rows:
        labels.put(Label(f"{data.entities[data.entity[row]]}:{row}", int(data.label[row] > 0)))
    return labels


def _value(message: Message) -> bytes:
    value = message.value()
    return value if isinstance(value, bytes) else b""
