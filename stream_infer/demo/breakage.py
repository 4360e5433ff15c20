"""Ways to break an event: what a topic sees sooner or later from programs that are not ours."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

__all__ = ["KINDS", "broken"]

_HEADER_BYTES = 5
_NO_SUCH_SCHEMA = 1_999_999_999

Serialise = Callable[[dict[str, Any]], bytes]


def _cut_off(datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    whole = serialise(datum)
    return whole[: len(whole) // 2]


def _json(datum: dict[str, Any], _: Serialise) -> bytes | None:
    return json.dumps(datum).encode()


def _unknown_schema(datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    return b"\0" + _NO_SUCH_SCHEMA.to_bytes(4, "big") + serialise(datum)[_HEADER_BYTES:]


def _infinite(datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    first = next(iter(datum["metrics"]))
    return serialise({**datum, "metrics": {**datum["metrics"], first: math.inf}})


def _left_over(datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    return serialise(datum) + b"left over"


def _nobody(datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    return serialise({**datum, "entity_id": ""})


def _nothing(_datum: dict[str, Any], _serialise: Serialise) -> bytes | None:
    return None


KINDS = (_cut_off, _json, _unknown_schema, _infinite, _left_over, _nobody, _nothing)
"""Cut off, JSON, a schema nobody registered, an infinite value, bytes left over, no entity, no payload at all."""


def broken(number: int, datum: dict[str, Any], serialise: Serialise) -> bytes | None:
    """Return the payload of the ``number``-th broken event: the kinds take turns."""
    return KINDS[number % len(KINDS)](datum, serialise)
