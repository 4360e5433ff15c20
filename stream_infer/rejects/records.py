"""The records of rejects, as the publish stage writes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.outgoing import Outgoing
from stream_infer.kernel import given
from stream_infer.log import escaped
from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Rejects
from stream_infer.rejects.kernels import (
    INTEGER_BYTES,
    Headers,
    Shared,
    make_headers,
    read_schema_ids,
    take_bytes,
)
from stream_infer.rejects.reject import LONGEST_NAME, LONGEST_REASON, PREFIX

__all__ = ["RejectRecords"]

_NAMES = Blobs.of(
    [
        f"{PREFIX}{name}".encode()
        for name in (
            "stage",
            "error",
            "reason",
            "source_topic",
            "source_partition",
            "source_offset",
            "source_time",
            "schema_id",
            "model_version",
            "time",
        )
    ]
)
_PREFIX = np.frombuffer(PREFIX.encode(), np.uint8)
_NUMBERS = 4  # of what the headers say: partition, offset, time, schema id
_NO_HEADERS = HeaderColumn.of([])


class RejectRecords:
    """Makes the records of a batch's rejects: keys and payloads as they came, and headers that say why.

    ``framed``: payloads begin with a schema id. ``now_ms`` is the clock.
    """

    def __init__(
        self,
        topic: str,
        model_version: str,
        *,
        framed: bool,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._topic = _bytes(topic)
        self._model_version = _bytes(model_version[:LONGEST_NAME])
        self._framed = framed
        self._now_ms = now_ms

    def warm_up(self) -> None:
        """Compile the kernels, or load them from numba's cache, so that the first reject does not wait."""
        one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
        batch = Batch(
            np.zeros(1, np.uint8), one, one < 0, zero.astype(np.int32), zero, zero, Blobs.of([b"key"])
        )
        self(batch, Rejects.of([(0, Fault("decode", "warm", "up"))]))

    def __call__(self, batch: Batch, rejects: Rejects) -> Outgoing:
        """The records, in the order of the rejects, to the partitions that they came from."""
        rows = rejects.rows
        return Outgoing(
            _taken(batch.values, rows),
            batch.partition[rows],
            np.arange(len(rows)),
            _taken(batch.keys, rows),
            self.headers(batch, rejects),
        )

    def headers(self, batch: Batch, rejects: Rejects) -> HeaderColumn:
        """The headers of each reject: the record's own but for those of our prefix, then ours."""
        assert (np.diff(rejects.rows) > 0).all()  # else the room made below would not do
        own = batch.headers or _NO_HEADERS
        said = [_said(*fault) for fault in rejects.faults]
        common = (self._topic, self._model_version, b"%d" % self._now_ms())
        longest = max(map(_size, said)) + _size(common) + _NUMBERS * INTEGER_BYTES
        made = _room(own, len(rejects), longest)
        entries, name_end, value_end = make_headers(
            given(rejects.rows, np.int64),
            given(rejects.fault, np.int64),
            given(self._numbers(batch, rejects.rows), np.int64),
            _arrays(own),
            _shared([*chain(*said), *common]),
            made,
        )
        return HeaderColumn(
            made.ends,
            Blobs(made.names[:name_end], made.name_ends[:entries], np.zeros(entries, np.bool_)),
            Blobs(made.values[:value_end], made.value_ends[:entries], made.null[:entries]),
        )

    def _numbers(self, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Partition, offset, time and schema id (-1: none) of each row."""
        numbers = np.empty((len(rows), _NUMBERS), np.int64)
        numbers[:, 0] = batch.partition[rows]
        numbers[:, 1] = batch.offset[rows]
        numbers[:, 2] = batch.timestamp_ms[rows]
        numbers[:, 3] = schema_ids(batch, rows) if self._framed else -1
        return numbers


def schema_ids(batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The schema ids that payloads begin with (a zero byte, then the id in four), -1 where one does not."""
    ids = np.empty(len(rows), np.int64)
    read_schema_ids(given(batch.payload, np.uint8), given(batch.ends, np.int64), given(rows, np.int64), ids)
    return ids


def _room(own: HeaderColumn, count: int, longest: int) -> Headers:
    """Arrays for the headers of so many rejects, whose values have at most ``longest`` bytes each beside their own."""
    entries = len(own.names) + count * len(_NAMES)
    return Headers(
        np.empty(count, np.int64),
        np.empty(len(own.names.data) + count * len(_NAMES.data), np.uint8),
        np.empty(entries, np.int64),
        np.empty(len(own.values.data) + count * longest, np.uint8),
        np.empty(entries, np.int64),
        np.empty(entries, np.bool_),
    )


def _arrays(headers: HeaderColumn) -> Headers:
    names, values = headers.names, headers.values
    return Headers(
        given(headers.ends, np.int64),
        given(names.data, np.uint8),
        given(names.ends, np.int64),
        given(values.data, np.uint8),
        given(values.ends, np.int64),
        given(values.null, np.bool_),
    )


def _shared(texts: Sequence[bytes]) -> Shared:
    column = Blobs.of(texts)
    return Shared(
        given(column.data, np.uint8),
        given(column.ends, np.int64),
        given(_NAMES.data, np.uint8),
        given(_NAMES.ends, np.int64),
        given(_PREFIX, np.uint8),
    )


def _taken(column: Blobs, rows: NDArray[np.int64]) -> Blobs:
    """The given rows of a column, in bytes of their own."""
    start = np.where(rows > 0, column.ends[rows - 1], 0)
    ends = np.cumsum(column.ends[rows] - start)
    data = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    take_bytes(given(column.data, np.uint8), given(start, np.int64), data, given(ends, np.int64))
    return Blobs(data, ends, column.null[rows])


@lru_cache(maxsize=1024)
def _said(stage: str, error: str, reason: str) -> tuple[bytes, bytes, bytes]:
    """A fault as header values."""
    return (
        _bytes(stage[:LONGEST_NAME]),
        _bytes(error[:LONGEST_NAME]),
        _bytes(escaped(reason, LONGEST_REASON)),
    )


def _size(texts: Sequence[bytes]) -> int:
    return sum(map(len, texts))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
