"""The values that travel between the stages: columns of a batch, never objects of a record.

    Batch      what poll took: payloads end to end, arrays of partition, offset, timestamp
    Columns    what decode made of its good rows: entity, event id, time, features
    Scores     what window, score and judge said of the rows of a Columns
    Rejects    the rows that some stage could not take, with the reason

``rows`` always indexes the batch and always ascends, so offset order within a partition survives
every stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Columns", "Headers", "Position", "Rejects", "Scores", "Text"]

Headers = Sequence[tuple[str, bytes | None]] | None
"""Kafka headers of one record."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The next offset to read of one partition."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Batch:
    """Records of one topic in offset order per partition; partitions may interleave.

    ``payload`` (uint8) holds every value end to end and ``ends`` (int64, n) where each one ends;
    a null value has no bytes and is marked in ``null`` (bool, n). ``timestamp_ms`` is -1 where the
    record has none. ``values``, ``keys`` and ``headers`` keep what the client handed over, for rejects and for
    the sink; ``headers`` is None where no record had any.
    """

    payload: NDArray[np.uint8]
    ends: NDArray[np.int64]
    null: NDArray[np.bool_]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def bytes_count(self) -> int:
        """Bytes of all payloads."""
        return len(self.payload)

    def take(self, wanted: NDArray[np.bool_]) -> Batch:
        """The rows of a mask, as a batch of their own."""
        rows = np.flatnonzero(wanted).tolist()
        values = [self.values[row] for row in rows]
        payloads = [value or b"" for value in values]
        return Batch(
            np.frombuffer(b"".join(payloads), np.uint8),
            np.cumsum(np.fromiter(map(len, payloads), np.int64, len(rows))),
            self.null[rows],
            self.partition[rows],
            self.offset[rows],
            self.timestamp_ms[rows],
            values,
            [self.keys[row] for row in rows],
            None if self.headers is None else [self.headers[row] for row in rows],
        )


@dataclass(slots=True)
class Text:
    """A column of byte strings: row i is ``data[start[i] : start[i] + length[i]]``."""

    data: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> bytes:
        start = int(self.start[row])
        return self.data[start : start + int(self.length[row])].tobytes()

    def take(self, rows: NDArray[Any]) -> Text:
        """The given rows (indices or a mask), over the same bytes."""
        return Text(self.data, self.start[rows], self.length[rows])

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Text:
        """A column of these values."""
        length = np.fromiter(map(len, values), np.int32, len(values))
        ends = np.cumsum(length, dtype=np.int64)
        return cls(np.frombuffer(b"".join(values), np.uint8), ends - length, length)


@dataclass(slots=True)
class Columns:
    """The decoded rows of a batch: ``rows`` (int64, m) says which.

    ``features`` is (m, F) float64 in the order of the model's manifest, NaN where the event has no
    value. ``time_ms`` (int64, m) is epoch milliseconds.
    ``event_id`` is None where ids are made of topic, partition and offset.
    """

    rows: NDArray[np.int64]
    entity: Text
    event_id: Text | None
    time_ms: NDArray[np.int64]
    features: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[Any]) -> Columns:
        """The given rows of these columns (indices or a mask)."""
        return Columns(
            self.rows[rows],
            self.entity.take(rows),
            None if self.event_id is None else self.event_id.take(rows),
            self.time_ms[rows],
            self.features[rows],
        )


@dataclass(slots=True)
class Scores:
    """What the model and the judge say of m rows.

    ``score`` and ``threshold`` are float64 (m), ``is_anomaly`` bool (m), ``top`` int32 (m, K) the features with the
    largest shares (-1 where there is none or no anomaly), ``share`` float32 (m, K), ``window_full`` bool (m): the
    window held W real rows, ``time_order`` uint8 (m): 0 in order, 1 late (before the entity's newest time), 2 repeated.
    """

    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    top: NDArray[np.int32]
    share: NDArray[np.float32]
    window_full: NDArray[np.bool_]
    time_order: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: NDArray[Any]) -> Scores:
        """The given rows (indices or a mask)."""
        return Scores(
            self.score[rows],
            self.threshold[rows],
            self.is_anomaly[rows],
            self.top[rows],
            self.share[rows],
            self.window_full[rows],
            self.time_order[rows],
        )


@dataclass(slots=True)
class Rejects:
    """Rows of a batch that one stage could not take: ``rows`` and, for each, error class and reason."""

    stage: str
    rows: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, error: str, reason: str) -> None:
        """Reject one row. ``error`` is a short class such as ``truncated``; ``reason`` a sentence for people."""
        self.rows.append(row)
        self.errors.append(error)
        self.reasons.append(reason)

    def take(self, wanted: NDArray[np.bool_]) -> Rejects:
        """Those rejects whose row of the batch is wanted."""
        taken = Rejects(self.stage)
        for row, error, reason in zip(self.rows, self.errors, self.reasons, strict=True):
            if wanted[row]:
                taken.add(row, error, reason)
        return taken
