"""What the header of a reject says, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from stream_infer.log import escaped
from stream_infer.records import Headers, Position

__all__ = ["LONGEST_NAME", "LONGEST_REASON", "NAME", "PREFIX", "HeaderList", "Reject", "foreign"]

PREFIX = "stream_infer."
NAME = f"{PREFIX}reject"
LONGEST_REASON = 500
LONGEST_NAME = 100
_LONGEST_TOPIC = 249  # that Kafka allows
_LONGEST = 16_384  # bytes: a reason and its names, each character of them escaped
_INT64 = range(-(2**63), 2**63)

HeaderList = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Reject:
    """What the header of a reject says. ``source`` is the position of the record itself."""

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
        """Read the header among those of a record; None where they are not a reject's.

        Anyone who may write to the reject topic can write anything: texts are bounded and escaped again.
        """
        said = _object(next((value for name, value in headers or () if name == NAME), None))
        texts = {name: _text(said.get(name)) for name in _TEXTS}
        whole = {name: _integer(said.get(name)) for name in _INTEGERS}
        partition, offset = whole["source_partition"], whole["source_offset"]
        if partition is None or offset is None or not all(map(texts.get, _NEEDED)):
            return None
        return cls(
            escaped(texts["stage"], LONGEST_NAME),
            escaped(texts["error"], LONGEST_NAME),
            escaped(texts["reason"], LONGEST_REASON),
            Position(escaped(texts["source_topic"], _LONGEST_TOPIC), partition, offset),
            whole["schema_id"],
            escaped(texts["model_version"], LONGEST_NAME),
            -1 if whole["source_time"] is None else whole["source_time"],
            -1 if whole["time"] is None else whole["time"],
        )


_NEEDED = ("stage", "error", "source_topic")
_TEXTS = (*_NEEDED, "reason", "model_version")
_INTEGERS = ("source_partition", "source_offset", "source_time", "schema_id", "time")


def foreign(headers: Headers) -> HeaderList:
    """Return the headers that are not ours."""
    return [(name, value) for name, value in headers or () if not name.startswith(PREFIX)]


def _object(value: bytes | None) -> dict[str, Any]:
    """The JSON object of a header, empty where it is none."""
    if value is None or len(value) > _LONGEST:
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _integer(found: Any) -> int | None:
    return found if type(found) is int and found in _INT64 else None
