"""The records of rejects, as the publish stage writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.outgoing import Outgoing
from stream_infer.header_arrays import HeaderArrays, header_arrays
from stream_infer.kernel import given
from stream_infer.log import escaped
from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Rejects
from stream_infer.rejects.kernels import INTEGER_BYTES, Shared, make_headers, read_schema_ids, take_bytes
from stream_infer.rejects.reject import LONGEST_NAME, LONGEST_REASON, NAME, PREFIX

__all__ = ["RejectRecords"]

_LABELS = Blobs.of(
    [b',"source_partition":', b',"source_offset":', b',"source_time":', b',"schema_id":', b"}"]
)
_NUMBERS = len(_LABELS) - 1
_NAME, _PREFIX = (np.frombuffer(text.encode(), np.uint8) for text in (NAME, PREFIX))
_NO_HEADERS = HeaderColumn.of([])


class RejectRecords:
    """Makes the records of a batch's rejects: keys and payloads as they came, and a header that says why.

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
        self._source = {"source_topic": topic, "model_version": model_version[:LONGEST_NAME]}
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
        common = _members({**self._source, "time": self._now_ms()})
        heads = Blobs.of([b"{%b,%b" % (_said(*fault), common) for fault in rejects.faults])
        longest = int(np.diff(heads.ends, prepend=0).max()) + len(_LABELS.data) + _NUMBERS * INTEGER_BYTES
        made = _room(own, len(rejects), longest)
        entries, name_end, value_end = make_headers(
            given(rejects.rows, np.int64),
            given(rejects.fault, np.int64),
            given(self._numbers(batch, rejects.rows), np.int64),
            header_arrays(own),
            _shared(heads),
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


def _room(own: HeaderColumn, count: int, longest: int) -> HeaderArrays:
    """Arrays for the headers of so many rejects, of which ours have at most ``longest`` bytes each."""
    entries = len(own.names) + count
    return HeaderArrays(
        np.empty(count, np.int64),
        np.empty(len(own.names.data) + count * len(_NAME), np.uint8),
        np.empty(entries, np.int64),
        np.empty(len(own.values.data) + count * longest, np.uint8),
        np.empty(entries, np.int64),
        np.empty(entries, np.bool_),
    )


def _shared(heads: Blobs) -> Shared:
    return Shared(
        given(heads.data, np.uint8),
        given(heads.ends, np.int64),
        given(_LABELS.data, np.uint8),
        given(_LABELS.ends, np.int64),
        given(_NAME, np.uint8),
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
def _said(stage: str, error: str, reason: str) -> bytes:
    """A fault as members of a JSON object."""
    return _members(
        {
            "stage": stage[:LONGEST_NAME],
            "error": error[:LONGEST_NAME],
            "reason": escaped(reason, LONGEST_REASON),
        }
    )


def _members(said: dict[str, str | int]) -> bytes:
    """What a JSON object has between its braces."""
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))[1:-1]
    # Half a surrogate pair becomes the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace")
