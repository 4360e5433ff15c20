"""What the headers of a reject say, read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from stream_infer.log import escaped
from stream_infer.records import Headers, Position

__all__ = ["LONGEST_NAME", "LONGEST_REASON", "PREFIX", "HeaderList", "Reject", "foreign"]

PREFIX = "stream_infer."
LONGEST_REASON = 500
LONGEST_NAME = 100
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
            escaped(found["stage"], LONGEST_NAME),
            escaped(found["error"], LONGEST_NAME),
            escaped(found.get("reason", ""), LONGEST_REASON),
            Position(escaped(found["source_topic"], 249), partition, offset),
            whole["schema_id"],
            escaped(found.get("model_version", ""), LONGEST_NAME),
            -1 if whole["source_time"] is None else whole["source_time"],
            -1 if whole["time"] is None else whole["time"],
        )


_INTEGERS = ("source_partition", "source_offset", "source_time", "schema_id", "time")


def foreign(headers: Headers) -> HeaderList:
    """Return the headers that are not ours."""
    return [(name, value) for name, value in headers or () if not name.startswith(PREFIX)]


def _integer(text: str | None) -> int | None:
    if text is None or len(text) > _INTEGER or not text.removeprefix("-").isdecimal() or not text.isascii():
        return None
    return int(text)
