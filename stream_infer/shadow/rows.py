"""Rows of the three topics that a shadow reads, and queues of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from itertools import chain, compress
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Batch
from stream_infer.rejects import Reject
from stream_infer.shadow import batches

__all__ = ["InputRows", "Queue", "RejectRows", "Rows", "ScoredRows"]

_ROW_BYTES = 64
"""Of a row beside its payload and key: the columns."""


@dataclass(slots=True)
class Rows:
    """Rows of one partition in the order of its log.

    ``key`` (int64, n) is the offset of the input record a row belongs to; ``batch`` holds the records themselves.
    """

    key: NDArray[np.int64]
    batch: Batch

    def __len__(self) -> int:
        return len(self.key)

    @property
    def position(self) -> NDArray[np.int64]:
        """Each row's own offset in its own topic."""
        return self.batch.offset

    @property
    def bytes_count(self) -> int:
        """Memory that the rows hold, roughly."""
        return len(self.batch.payload) + len(self.batch.keys.data) + len(self) * _ROW_BYTES

    def cut(self, start: int, stop: int) -> Self:
        """The rows of a range."""
        cut: list[Any] = [_cut(getattr(self, column.name), start, stop) for column in fields(self)]
        return type(self)(*cut)

    def kept(self, wanted: NDArray[np.bool_]) -> Self:
        """The rows of a mask."""
        kept: list[Any] = [_kept(getattr(self, column.name), wanted) for column in fields(self)]
        return type(self)(*kept)

    def joined(self, others: list[Self]) -> Self:
        """These rows and others behind them."""
        every = (self, *others)
        joined: list[Any] = [_joined([getattr(rows, each.name) for rows in every]) for each in fields(self)]
        return type(self)(*joined)


@dataclass(slots=True)
class InputRows(Rows):
    """Records of the input topic: key and position are the same."""


@dataclass(slots=True)
class ScoredRows(Rows):
    """Scored events of the primary: score, threshold, is_anomaly and window_full (n, 4), and (name, version)."""

    numbers: NDArray[np.float64]
    model: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class RejectRows(Rows):
    """Rejects of the primary."""

    rejects: list[Reject]


def _cut(column: Any, start: int, stop: int) -> Any:
    return batches.cut(column, start, stop) if isinstance(column, Batch) else column[start:stop]


def _kept(column: Any, wanted: NDArray[np.bool_]) -> Any:
    if isinstance(column, Batch):
        return column.take(wanted)
    return list(compress(column, wanted.tolist())) if isinstance(column, list) else column[wanted]


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Batch):
        return batches.joined(parts)
    return list(chain.from_iterable(parts)) if isinstance(parts[0], list) else np.concatenate(parts)


R = TypeVar("R", bound=Rows)


class Queue(Generic[R]):
    """Rows of one partition of one topic that wait, their keys rising strictly.

    ``position`` is where reading goes on, ``from_key`` the first key that matters. A row that was here before, or
    whose key does not rise, is left out: the first counts. ``repeated_count`` says how many of those with a key that
    matters.
    """

    def __init__(self, position: int, from_key: int) -> None:
        self.position = position
        self.last_key = from_key - 1
        self.repeated_count = 0
        self.bytes_count = 0
        self._from_key = from_key
        self._chunks: deque[R] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: R) -> None:
        """Take rows that arrived; there is one at least."""
        rows = rows if rows.position[0] >= self.position else rows.kept(rows.position >= self.position)
        if not len(rows):
            return
        self.position = int(rows.position[-1]) + 1
        rows = self._rising(rows)
        if len(rows):
            self.last_key = int(rows.key[-1])
            self.bytes_count += rows.bytes_count
            self._count += len(rows)
            self._chunks.append(rows)

    def reached(self, position: int) -> None:
        """Everything in the topic before this position has been read."""
        self.position = max(self.position, position)

    def pass_over(self, key: int) -> None:
        """Rows to come with a smaller key are too late."""
        self.last_key = max(self.last_key, key - 1)

    def keys(self, limit: int) -> NDArray[np.int64]:
        """The keys of the first rows, ``limit`` at most."""
        parts, count = [], 0
        for chunk in self._chunks:
            if count >= limit:
                break
            parts.append(chunk.key[: limit - count])
            count += len(parts[-1])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def pop(self, count: int) -> R:
        """Take the first ``count`` rows out; there are as many, and one at least."""
        parts: list[R] = []
        while count > 0:
            chunk = self._chunks.popleft()
            self.bytes_count -= chunk.bytes_count
            if len(chunk) > count:
                rest = chunk.cut(count, len(chunk))
                self.bytes_count += rest.bytes_count
                self._chunks.appendleft(rest)
                chunk = chunk.cut(0, count)
            parts.append(chunk)
            count -= len(chunk)
            self._count -= len(chunk)
        return parts[0] if len(parts) == 1 else parts[0].joined(parts[1:])

    def first_position(self) -> int:
        """Where a reader must begin to find the first row that waits."""
        return int(self._chunks[0].position[0]) if self._chunks else self.position

    def _rising(self, rows: R) -> R:
        before = np.maximum.accumulate(np.concatenate(([self.last_key], rows.key[:-1])))
        fresh = rows.key > before
        if fresh.all():
            return rows
        self.repeated_count += int(np.count_nonzero(~fresh & (rows.key >= self._from_key)))
        return rows.kept(fresh)
