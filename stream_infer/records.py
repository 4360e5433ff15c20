"""The values that travel between the stages: columns of a batch, never objects of a record.

    Batch      what poll took: payloads end to end, arrays of partition, offset, timestamp
    Columns    what decode made of its good rows: entity, event id, time, features
    Scores     what window, score and judge said of the rows of a Columns
    Rejects    the rows that some stage could not take, each with its Fault

``rows`` always indexes the batch and always ascends, so offset order within a partition survives
every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Batch",
    "Blobs",
    "Columns",
    "Fault",
    "HeaderColumn",
    "Headers",
    "Position",
    "Rejects",
    "Scores",
    "Text",
]

Headers = Sequence[tuple[str, bytes | None]] | None
"""Kafka headers of one record."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The next offset to read of one partition."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Blobs:
    """A column of byte strings, some of them null: ``data`` (uint8) holds them end to end.

    ``ends`` (int64, n) says where each one ends; a null one has no bytes and is marked in ``null`` (bool, n).
    """

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]
    null: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> bytes | None:
        if self.null[row]:
            return None
        return self.data[self._start(row) : int(self.ends[row])].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        data, start = self.data.tobytes(), 0
        for end, null in zip(self.ends.tolist(), self.null.tolist(), strict=True):
            yield None if null else data[start:end]
            start = end

    def text(self) -> Text:
        """The same column as text; a null one is empty."""
        start = np.zeros(len(self.ends), np.int64)
        start[1:] = self.ends[:-1]
        return Text(self.data, start, (self.ends - start).astype(np.int32))

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Blobs:
        """The given rows, in bytes of their own."""
        chosen = np.asarray(rows, np.int64)
        start = np.where(chosen > 0, self.ends[chosen - 1], 0)
        end, whole = self.ends[chosen], self.data.data
        parts = [whole[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]
        return Blobs(np.frombuffer(b"".join(parts), np.uint8), np.cumsum(end - start), self.null[chosen])

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Blobs:
        """A column of these values."""
        count, filled = len(values), cast("Sequence[bytes]", values)
        null = np.zeros(count, np.bool_)
        try:
            data = b"".join(filled)
        except TypeError:  # some are null; to look for them first costs more than all the rest
            null[:] = [value is None for value in values]
            filled = [value or b"" for value in values]
            data = b"".join(filled)
        ends = np.cumsum(np.fromiter(map(len, filled), np.int64, count))
        return cls(np.frombuffer(data, np.uint8), ends, null)

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0


@dataclass(slots=True)
class HeaderColumn:
    """Kafka headers of n records: those of record i are the entries ``ends[i - 1]`` to ``ends[i]`` (int64, n)."""

    ends: NDArray[np.int64]
    names: Blobs
    values: Blobs

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> list[tuple[str, bytes | None]]:
        entries = range(int(self.ends[row - 1]) if row else 0, int(self.ends[row]))
        return [((self.names[i] or b"").decode("utf-8", "replace"), self.values[i]) for i in entries]

    def take(self, rows: Sequence[int]) -> HeaderColumn:
        """The given rows, in bytes of their own."""
        return HeaderColumn.of([self[row] for row in rows])

    @classmethod
    def of(cls, headers: Sequence[Headers]) -> HeaderColumn:
        """A column of these records' headers."""
        ends = np.cumsum([len(of_one or ()) for of_one in headers], dtype=np.int64)
        entries = [entry for of_one in headers for entry in of_one or ()]
        return cls(
            ends,
            Blobs.of([name.encode("utf-8", "replace") for name, _ in entries]),
            Blobs.of([value for _, value in entries]),
        )


@dataclass(slots=True)
class Batch:
    """Records of one topic in offset order per partition; partitions may interleave.

    ``payload`` (uint8) holds every value end to end and ``ends`` (int64, n) where each one ends;
    a null value has no bytes and is marked in ``null`` (bool, n). ``timestamp_ms`` is -1 where the
    record has none. ``headers`` is None where no record had any.
    """

    payload: NDArray[np.uint8]
    ends: NDArray[np.int64]
    null: NDArray[np.bool_]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    keys: Blobs
    headers: HeaderColumn | None = None

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def bytes_count(self) -> int:
        """Bytes of all payloads."""
        return len(self.payload)

    @property
    def values(self) -> Blobs:
        """The payloads, one by one."""
        return Blobs(self.payload, self.ends, self.null)

    def take(self, wanted: NDArray[np.bool_]) -> Batch:
        """The rows of a mask, as a batch of their own."""
        rows = np.flatnonzero(wanted).tolist()
        values = self.values.take(rows)
        return Batch(
            values.data,
            values.ends,
            values.null,
            self.partition[rows],
            self.offset[rows],
            self.timestamp_ms[rows],
            self.keys.take(rows),
            None if self.headers is None else self.headers.take(rows),
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

    def equal(self, value: bytes) -> NDArray[np.bool_]:
        """Which rows are this value."""
        found = self.length == len(value)
        rows = np.flatnonzero(found)
        letters = self.data[self.start[rows, None] + np.arange(len(value))]
        found[rows] = (letters == np.frombuffer(value, np.uint8)).all(axis=1)
        return np.asarray(found)

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
    ``alert`` uint8 (m): 0 none, 1 begins, 2 continues, 3 ends.
    """

    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    top: NDArray[np.int32]
    share: NDArray[np.float32]
    window_full: NDArray[np.bool_]
    time_order: NDArray[np.uint8]
    alert: NDArray[np.uint8]

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
            self.alert[rows],
        )


class Fault(NamedTuple):
    """What is wrong with a record: the stage that found out, a class such as ``truncated``, a sentence for people."""

    stage: str
    error: str
    reason: str


@dataclass(slots=True)
class Rejects:
    """Rows of a batch that cannot be scored: row ``rows[i]`` (int64, m, ascending) has ``faults[fault[i]]`` (int64, m).

    A poisoned topic has many rejects and few faults: what they have in common is said once.
    """

    rows: NDArray[np.int64]
    fault: NDArray[np.int64]
    faults: list[Fault]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, Fault]]:
        for row, number in zip(self.rows.tolist(), self.fault.tolist(), strict=True):
            yield row, self.faults[number]

    def counts(self) -> list[tuple[Fault, int]]:
        """How many rows have each fault."""
        return list(
            zip(self.faults, np.bincount(self.fault, minlength=len(self.faults)).tolist(), strict=True)
        )

    def take(self, wanted: NDArray[np.bool_]) -> Rejects:
        """Those rejects whose row of the batch is wanted."""
        kept = wanted[self.rows]
        return Rejects(self.rows[kept], self.fault[kept], self.faults)

    @classmethod
    def of(cls, found: Iterable[tuple[int, Fault]]) -> Rejects:
        """From rows, ascending, and what is wrong with each."""
        numbers: dict[Fault, int] = {}
        pairs = [(row, numbers.setdefault(fault, len(numbers))) for row, fault in found]
        rows, fault = np.array(pairs, np.int64).reshape(len(pairs), 2).T
        return cls(rows, fault, list(numbers))

    @classmethod
    def coded(
        cls, rows: NDArray[np.int64], codes: NDArray[np.int64], fault_of: Callable[[int], Fault]
    ) -> Rejects:
        """From rows, ascending, and a number for each that says what is wrong with it."""
        distinct, fault = np.unique(codes, return_inverse=True)
        return cls(rows, fault, [fault_of(code) for code in distinct.tolist()])

    @classmethod
    def merged(cls, parts: Iterable[Rejects]) -> Rejects:
        """The rejects of all parts, which have no row in common."""
        filled = [part for part in parts if len(part)]
        if len(filled) == 1:
            return filled[0]
        if not filled:
            return cls.of([])
        faults, numbers = list[Fault](), list[NDArray[np.int64]]()
        for part in filled:
            numbers.append(part.fault + len(faults))
            faults += part.faults
        rows = np.concatenate([part.rows for part in filled])
        order = np.argsort(rows, kind="stable")
        return cls(rows[order], np.concatenate(numbers)[order], faults)
