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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from stream_infer.log import escaped
from stream_infer.records import Batch, Headers, Position

__all__ = ["PREFIX", "Reject", "RejectHeaders", "foreign", "schema_id"]

PREFIX = "stream_infer."
_LONGEST_REASON = 500
_LONGEST_NAME = 100
_INTEGER = 20  # digits of the longest 64-bit integer

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

    def headers(self, original: Headers = None) -> HeaderList:
        """Return the record's own headers, then ours; its headers of our prefix are dropped."""
        said: dict[str, str | int | None] = {
            "stage": self.stage[:_LONGEST_NAME],
            "error": self.error[:_LONGEST_NAME],
            "reason": escaped(self.reason, _LONGEST_REASON),
            "source_topic": self.source.topic,
            "source_partition": self.source.partition,
            "source_offset": self.source.offset,
            "source_time": self.source_time_ms,
            "schema_id": self.schema_id,
            "model_version": self.model_version[:_LONGEST_NAME],
            "time": self.time_ms,
        }
        ours = [
            (PREFIX + name, str(value).encode("utf-8", "backslashreplace"))
            for name, value in said.items()
            if value is not None
        ]
        return [*foreign(original), *ours]

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
    """Makes the headers of rejected rows of a batch: what the publish stage calls for each reject.

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
        self._topic = topic
        self._model_version = model_version
        self._framed = framed
        self._now_ms = now_ms

    def __call__(self, batch: Batch, row: int, stage: str, error: str, reason: str) -> HeaderList:
        """Return all headers of the reject of one row, the record's own included."""
        reject = Reject(
            stage,
            error,
            reason,
            Position(self._topic, int(batch.partition[row]), int(batch.offset[row])),
            schema_id(batch.values[row]) if self._framed else None,
            self._model_version,
            int(batch.timestamp_ms[row]),
            self._now_ms(),
        )
        return reject.headers(batch.headers[row] if batch.headers is not None else None)


def foreign(headers: Headers) -> HeaderList:
    """Return the headers that are not ours."""
    return [(name, value) for name, value in headers or () if not name.startswith(PREFIX)]


def schema_id(payload: bytes | None) -> int | None:
    """Return the schema id a payload begins with (a zero byte, then the id in four), None where it does not."""
    if payload is None or len(payload) < 5 or payload[0] != 0:
        return None
    return int.from_bytes(payload[1:5], "big")


def _integer(text: str | None) -> int | None:
    if text is None or len(text) > _INTEGER or not text.removeprefix("-").isdecimal() or not text.isascii():
        return None
    return int(text)
