"""Peeking at a payload: shows what is there, and survives what is meant to kill the reader."""

import io
import json
import time

import fastavro

from stream_infer.peek import peek

POINT = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "x", "type": "long"}, {"name": "s", "type": "string"}],
}


def encoded(schema, datum):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), datum)
    return body.getvalue()


def test_a_datum_is_shown():
    datum = {"x": 7, "s": "a\nb"}
    assert json.loads(peek(json.dumps(POINT), (), encoded(POINT, datum))) == datum


def test_references_are_known():
    outer = {"type": "record", "name": "Outer", "fields": [{"name": "p", "type": "Point"}]}
    body = encoded(POINT, {"x": 1, "s": ""})
    assert json.loads(peek(json.dumps(outer), (json.dumps(POINT),), body)) == {"p": {"x": 1, "s": ""}}


def test_trailing_bytes_are_told():
    assert peek('"int"', (), b"\x02abc") == "1\n3 bytes follow the datum"


def test_a_truncated_datum_is_told():
    assert peek(json.dumps(POINT), (), b"\x02").startswith("cannot be decoded: EOFError")


def test_a_schema_that_is_none_is_told():
    assert peek("{", (), b"").startswith("cannot be decoded: JSONDecodeError")


def test_a_recursion_bomb_ends_the_child_alone():
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    assert peek(json.dumps(node), (), b"\x02" * 200_000).startswith("cannot be decoded")


def test_an_array_of_nothing_cannot_fill_the_memory():
    began_s = time.monotonic()
    nothing = {"type": "array", "items": "null"}
    assert peek(json.dumps(nothing), (), b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x00").startswith(
        "cannot be decoded"
    )
    assert time.monotonic() - began_s < 60
