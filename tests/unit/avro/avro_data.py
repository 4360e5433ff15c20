"""Batches of payloads, and random Avro schemas with data that fit them."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
from hypothesis import strategies as st

from stream_infer.records import Batch, Blobs

RECORD_TIME_MS = 1_700_000_000_000


def batch_of(payloads, keys=None, timestamp_ms=RECORD_TIME_MS) -> Batch:
    n = len(payloads)
    return Batch(
        payload=np.frombuffer(b"".join(payload or b"" for payload in payloads), np.uint8),
        ends=np.cumsum([len(payload or b"") for payload in payloads], dtype=np.int64),
        null=np.array([payload is None for payload in payloads], np.bool_),
        partition=np.zeros(n, np.int32),
        offset=np.arange(n, dtype=np.int64),
        timestamp_ms=np.full(n, timestamp_ms, np.int64),
        keys=Blobs.of(keys or [b"key"] * n),
    )


def encode(schema: Any, datum: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), datum)
    return buffer.getvalue()


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


def record(*fields: Any, name: str = "Event") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": type_} for key, type_ in fields]}


def text(schema: Any) -> str:
    return json.dumps(schema)


# Random types. Each strategy yields (schema, strategy of its data); names are numbered as they are drawn.

FLOATS = st.floats(width=32, allow_nan=False)
PLAIN = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": FLOATS,
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=12),
    "string": st.text(max_size=12),
}


class Names:
    """Fresh names within one schema."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


@st.composite
def types(draw, names: Names, depth: int = 3, *, union: bool = True):
    kinds = [*PLAIN, "enum", "fixed", "decimal", "date"]
    if depth:
        kinds += ["array", "map", "record"] + (["union"] if union else [])
    kind = draw(st.sampled_from(kinds))
    if kind in PLAIN:
        return kind, PLAIN[kind]
    if kind == "enum":
        symbols = [f"S{number}" for number in range(draw(st.integers(1, 5)))]
        return {"type": "enum", "name": names("Enum"), "symbols": symbols}, st.sampled_from(symbols)
    if kind == "fixed":
        size = draw(st.integers(0, 9))
        return {"type": "fixed", "name": names("Fixed"), "size": size}, st.binary(
            min_size=size, max_size=size
        )
    if kind == "decimal":
        scale = draw(st.integers(0, 6))
        schema = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": scale}
        return schema, st.decimals(-(10**9), 10**9, places=scale)
    if kind == "date":
        return {"type": "int", "logicalType": "date"}, st.dates()
    return draw(nested(names, depth, kind))


@st.composite
def nested(draw, names: Names, depth: int, kind: str):
    if kind == "array":
        items, data = draw(types(names, depth - 1))
        return {"type": "array", "items": items}, st.lists(data, max_size=4)
    if kind == "map":
        values, data = draw(types(names, depth - 1))
        return {"type": "map", "values": values}, st.dictionaries(st.text(max_size=5), data, max_size=3)
    if kind == "record":
        fields = [(names("f"), draw(types(names, depth - 1))) for _ in range(draw(st.integers(0, 4)))]
        schema = record(*((name, field[0]) for name, field in fields), name=names("Record"))
        return schema, st.fixed_dictionaries({name: field[1] for name, field in fields})
    branches = draw(st.lists(types(names, depth - 1, union=False), min_size=1, max_size=4, unique_by=_branch))
    return [schema for schema, _ in branches], st.one_of([_named(branch) for branch in branches])


def _named(branch):
    """Data as (branch name, datum), fastavro's way to say which branch is meant."""
    name = _branch(branch)
    return branch[1].map(lambda datum: (name, datum))


def _branch(branch) -> str:
    schema = branch[0]
    return schema if isinstance(schema, str) else schema.get("name", schema["type"])
