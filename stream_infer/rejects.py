"""The headers of a reject: why a record could not be scored, beside its original key, value and headers.

    stream_infer.stage             decode, window or score
    stream_infer.error             class of the error, such as truncated
    stream_infer.reason            a sentence for people: control characters escaped, at most 500 characters
    stream_infer.source_topic      where the record came from: topic, partition, offset
    stream_infer.source_partition
    stream_infer.source_offset
    stream_infer.source_time       the record's timestamp in epoch ms, -1 where it had none
    stream_infer.schema_id         of its payload; missing where the payload does not begin with one
    stream_infer.model_version     of the model that would have scored it
    stream_infer.time              when it was rejected, in epoch ms

Values are text in UTF-8. A record that was rejected before, replayed, and rejected again carries the newest
of these headers only; all its other headers stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream_infer.log import escaped
from stream_infer.records import Batch, Blobs, HeaderColumn, Headers, Position

__all__ = ["PREFIX", "Found", "Reject", "RejectHeaders", "foreign", "schema_ids"]

PREFIX = "stream_infer."
_LONGEST_REASON = 500
_LONGEST_NAME = 100
_INTEGER = 20  # digits of the longest 64-bit integer

_FRAME_BYTES = 5
_BIG_ENDIAN = np.array([1 << 24, 1 << 16, 1 << 8, 1], np.int64)

Found = tuple[int, str, str, str]
"""A reject: row of the batch, stage, error class, reason."""

HeaderList = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Reject:
    """What the headers of a reject say. ``source`` is the position of the record itself."""

    stage: str
    error: str
    reason: str
    source: Position
    schema_id: int | None
    model_version: str
    source_time_ms: int
    time_ms: int

    @classmethod
    def parse(cls, headers: Headers) -> Self | None:
        """Read the headers of a record; None where they are not a reject's.

        Anyone who may write to the reject topic can write anything: texts are bounded and escaped again.
        """
        found = {
            name.removeprefix(PREFIX): (value or b"")[:4096].decode("utf-8", "replace")
            for name, value in headers or ()
            if name.startswith(PREFIX)
        }
        whole = {name: _integer(found.get(name)) for name in _INTEGERS}
        partition, offset = whole["source_partition"], whole["source_offset"]
        if partition is None or offset is None or not {"stage", "error", "source_topic"} <= found.keys():
            return None
        return cls(
            escaped(found["stage"], _LONGEST_NAME),
            escaped(found["error"], _LONGEST_NAME),
            escaped(found.get("reason", ""), _LONGEST_REASON),
            Position(escaped(found["source_topic"], 249), partition, offset),
            whole["schema_id"],
            escaped(found.get("model_version", ""), _LONGEST_NAME),
            -1 if whole["source_time"] is None else whole["source_time"],
            -1 if whole["time"] is None else whole["time"],
        )


_INTEGERS = ("source_partition", "source_offset", "source_time", "schema_id", "time")


class RejectHeaders:
    """Makes the headers of rejected rows: what the publish stage calls once for the rejects of a batch.

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
        self._model_version = _bytes(model_version[:_LONGEST_NAME])
        self._framed = framed
        self._now_ms = now_ms

    def __call__(self, batch: Batch, found: Sequence[Found]) -> HeaderColumn:
        """The headers of each reject: the record's own but for those of our prefix, then ours.

        One pass without an object per reject: a poisoned topic must not be slower than a clean one.
        """
        rows = [row for row, _, _, _ in found]
        places = (column[rows].tolist() for column in (batch.partition, batch.offset, batch.timestamp_ms))
        ids = schema_ids(batch, rows).tolist() if self._framed else repeat(-1)
        topic, version, now = self._topic, self._model_version, b"%d" % self._now_ms()
        names: list[bytes] = []
        values: list[bytes | None] = []
        counts = []
        for (row, *said), partition, offset, stamp, number in zip(found, *places, ids):  # noqa: B905 - ids may be endless
            own = foreign(batch.headers[row]) if batch.headers is not None else ()
            for name, value in own:
                names.append(name.encode("utf-8", "replace"))
                values.append(value)
            values += (*_said(*said), topic, b"%d" % partition, b"%d" % offset, b"%d" % stamp)
            if number >= 0:
                values.append(b"%d" % number)
            values += (version, now)
            names += _NAMES if number >= 0 else _WITHOUT_ID
            counts.append(len(own) + len(_NAMES) - (number < 0))
        return HeaderColumn(np.cumsum(counts, dtype=np.int64), Blobs.of(names), Blobs.of(values))


_NAMES = [
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
_WITHOUT_ID = [name for name in _NAMES if not name.endswith(b"schema_id")]


@lru_cache(maxsize=1024)
def _said(stage: str, error: str, reason: str) -> tuple[bytes, bytes, bytes]:
    """The first three values; most rejects of a topic are alike."""
    return (
        _bytes(stage[:_LONGEST_NAME]),
        _bytes(error[:_LONGEST_NAME]),
        _bytes(escaped(reason, _LONGEST_REASON)),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def foreign(headers: Headers) -> HeaderList:
    """Return the headers that are not ours."""
    return [(name, value) for name, value in headers or () if not name.startswith(PREFIX)]


def schema_ids(batch: Batch, rows: Sequence[int]) -> NDArray[np.int64]:
    """The schema ids that payloads begin with (a zero byte, then the id in four), -1 where one does not."""
    chosen = np.asarray(rows, np.int64)
    start = np.where(chosen > 0, batch.ends[chosen - 1], 0)
    long_enough = batch.ends[chosen] - start >= _FRAME_BYTES
    found = np.full(len(chosen), -1, np.int64)
    at = start[long_enough, None] + np.arange(_FRAME_BYTES)
    head = batch.payload[at].astype(np.int64)
    found[long_enough] = np.where(head[:, 0] == 0, head[:, 1:] @ _BIG_ENDIAN, -1)
    return found


def _integer(text: str | None) -> int | None:
    if text is None or len(text) > _INTEGER or not text.removeprefix("-").isdecimal() or not text.isascii():
        return None
    return int(text)
