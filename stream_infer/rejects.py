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
        rows = np.array([row for row, _, _, _ in found], np.int64)
        ids = schema_ids(batch, rows) if self._framed else np.full(len(rows), -1)
        places = (column[rows].tolist() for column in (batch.partition, batch.offset, batch.timestamp_ms))
        topic, version, now = self._topic, self._model_version, b"%d" % self._now_ms()
        values: list[bytes | None] = []
        names: list[bytes] = []
        counts = np.where(ids < 0, len(_WITHOUT_ID), len(_NAMES))
        for i, (row, partition, offset, stamp, number) in enumerate(
            zip(rows, *places, ids.tolist(), strict=True)
        ):
            if batch.headers is not None:
                own = foreign(batch.headers[row])
                names += [name.encode("utf-8", "replace") for name, _ in own]
                names += _WITHOUT_ID if number < 0 else _NAMES
                values += [value for _, value in own]
                counts[i] += len(own)
            _, stage, error, reason = found[i]
            values += _said(stage, error, reason)
            values += (topic, b"%d" % partition, b"%d" % offset, b"%d" % stamp)
            values += (version, now) if number < 0 else (b"%d" % number, version, now)
        column = Blobs.of(names) if batch.headers is not None else _our_names(ids)
        return HeaderColumn(np.cumsum(counts), column, Blobs.of(values))


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
_SCHEMA_ID = len(_NAMES) - 3
_LENGTHS = np.fromiter(map(len, _NAMES), np.int64)


def _our_names(ids: NDArray[np.int64]) -> Blobs:
    """Our names over and over, without that of the schema id where there is none (-1)."""
    kept = np.ones((len(ids), len(_NAMES)), np.bool_)
    kept[:, _SCHEMA_ID] = ids >= 0
    lengths = np.broadcast_to(_LENGTHS, kept.shape)[kept]
    whole, less = b"".join(_NAMES), b"".join(_WITHOUT_ID)
    data = b"".join([less if number < 0 else whole for number in ids.tolist()])
    return Blobs(np.frombuffer(data, np.uint8), np.cumsum(lengths), np.zeros(len(lengths), np.bool_))


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


def schema_ids(batch: Batch, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
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
