"""Whatever stands where a schema should: a program, or one SchemaError."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.schema import SchemaError
from stream_infer.avro.source import SingleSchema
from tests.unit.avro.avro_data import record
from tests.unit.avro.test_fuzz import ARRAY, MIXED, MIXED_FIELDS

WORDS = [
    "type",
    "name",
    "fields",
    "items",
    "values",
    "symbols",
    "size",
    "aliases",
    "logicalType",
    "namespace",
]
KINDS = ["record", "enum", "fixed", "array", "map", "null", "int", "string", "decimal", "Event", "M", "Node"]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(KINDS) | st.text(max_size=3)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)


def places(node, path=()):
    """Every place in a JSON value."""
    yield path
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*path, key))


def check(schema):
    decoder = Decoder(SingleSchema("{}"), MIXED_FIELDS)
    try:
        decoder.check(schema)
    except SchemaError as error:
        message = str(error).encode()  # it must be fit for a header
    else:
        message = b""
    assert len(message) < 2000


@settings(deadline=None, max_examples=500, suppress_health_check=list(HealthCheck))
@given(JSON)
def test_any_json(schema):
    check(json.dumps(schema))


@settings(deadline=None, max_examples=1000, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([MIXED, ARRAY]), st.data())
def test_a_schema_with_one_node_replaced(schema, data):
    schema = copy.deepcopy(schema)
    *way, last = data.draw(st.sampled_from([place for place in places(schema) if place]))
    node = schema
    for key in way:
        node = node[key]
    node[last] = data.draw(JSON)
    check(json.dumps(schema))


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30))
def test_any_text(schema):
    check(schema)


def test_a_good_one_passes():
    """Else the tests above might refuse everything for one reason."""
    Decoder(SingleSchema("{}"), MIXED_FIELDS).check(json.dumps(MIXED))
    with pytest.raises(SchemaError):
        Decoder(SingleSchema("{}"), MIXED_FIELDS).check(json.dumps(record()))
