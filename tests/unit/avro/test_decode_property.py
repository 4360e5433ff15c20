"""Whatever the schema and the datum: what decode takes equals what fastavro reads."""

from __future__ import annotations

import io
import math

import fastavro
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SingleSchema
from tests.unit.avro.avro_data import FLOATS, Names, batch_of, encode, record, text, types

SLOW = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)
TIME = st.integers(0, 4_000_000_000_000)
NUMBERS = {
    "boolean": st.booleans(),
    "int": INT,
    "long": LONG,
    "float": FLOATS,
    "double": st.floats(allow_nan=False),
    "bytes": st.decimals(-(10**20), 10**20, places=3),
}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3}
TEXTS = {"string": st.text(min_size=1, max_size=20), "int": INT, "long": LONG}


@st.composite
def numbers(draw):
    """A numeric type, perhaps nullable, perhaps one of several, and its data."""
    kinds = draw(st.lists(st.sampled_from(list(NUMBERS)), min_size=1, max_size=3, unique=True))
    if len(kinds) == 1 and draw(st.booleans()):
        return numeric(kinds[0]), NUMBERS[kinds[0]]
    branches = draw(st.permutations([*kinds, "null"]))
    values = [NUMBERS[kind].map(lambda value, kind=kind: (kind, value)) for kind in kinds]
    return [numeric(branch) for branch in branches], st.one_of([*values, st.none()])


def numeric(kind):
    return DECIMAL if kind == "bytes" else kind


@st.composite
def events(draw):
    """A schema with wanted fields among random others, the fields wanted, and data."""
    names = Names()
    wide = draw(st.booleans())
    count = draw(st.integers(1, 6))
    entity = draw(st.sampled_from(list(TEXTS)))
    wanted = [("entity", (entity, TEXTS[entity])), ("time", ("long", TIME))]
    if wide:
        wanted += [(f"x{number}", draw(numbers())) for number in range(count)]
    else:
        items, values = draw(numbers())
        wanted.append(
            ("xs", ({"type": "array", "items": items}, st.lists(values, min_size=count, max_size=count)))
        )
    others = [(names("skip"), draw(types(names))) for _ in range(draw(st.integers(0, 5)))]
    fields = draw(st.permutations(wanted + others))
    inner = draw(st.booleans())  # all of it one record deeper, which may be null's neighbour in a union
    schema = record(*((name, of[0]) for name, of in fields))
    data = st.fixed_dictionaries({name: of[1] for name, of in fields})
    if inner:
        schema = record(("body", ["null", schema]), name="Outer")
        data = data.map(lambda datum: {"body": ("Event", datum)})
    path = "body." if inner else ""
    features = tuple(f"{path}x{number}" for number in range(count)) if wide else f"{path}xs"
    wanted_fields = Fields(features, count, f"{path}entity", f"{path}time", None)
    return schema, wanted_fields, draw(st.lists(data, min_size=1, max_size=4))


def at(datum, path):
    for name in path.split("."):
        datum = datum[name]
    return datum


def features_of(datum, fields):
    """What fastavro read, as the features that are wanted of it."""
    wanted = (
        [at(datum, path) for path in fields.features]
        if isinstance(fields.features, tuple)
        else at(datum, fields.features)
    )
    return [math.nan if value is None else float(value) for value in wanted]


@SLOW
@given(events())
def test_decode_equals_fastavro(event):
    schema, fields, data = event
    payloads = [encode(schema, datum) for datum in data]
    parsed = fastavro.parse_schema(schema)
    read = [fastavro.schemaless_reader(io.BytesIO(payload), parsed) for payload in payloads]

    decoded = Decoder(SingleSchema(text(schema)), fields).decode(batch_of(payloads))

    assert list(decoded.rejects) == []
    columns = decoded.columns
    for row, datum in enumerate(read):
        assert columns.entity[row] == str(at(datum, fields.entity)).encode()
        assert columns.time_ms[row] == at(datum, fields.time)
        np.testing.assert_allclose(columns.features[row], features_of(datum, fields), rtol=1e-15)


@SLOW
@given(events(), st.data())
def test_a_changed_byte_is_read_as_fastavro_reads_it_or_rejected(event, data):
    schema, fields, rows = event
    payload = bytearray(encode(schema, rows[0]))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    decoded = Decoder(SingleSchema(text(schema)), fields).decode(batch_of([bytes(payload)]))

    assert len(decoded.columns) + len(decoded.rejects) == 1
    if len(decoded.columns):  # what is rejected may be what fastavro would not survive
        try:
            datum = fastavro.schemaless_reader(io.BytesIO(payload), fastavro.parse_schema(schema))
        except UnicodeDecodeError:
            raise
        except (OverflowError, ValueError):  # a date beyond Python's calendar, in a field that is read over
            return
        np.testing.assert_allclose(decoded.columns.features[0], features_of(datum, fields), rtol=1e-15)


@SLOW
@given(events(), st.data())
def test_every_cut_is_a_reject_and_leaves_its_neighbours_alone(event, data):
    schema, fields, rows = event
    payload = encode(schema, rows[0])
    cut = data.draw(st.integers(0, len(payload) - 1))
    decoder = Decoder(SingleSchema(text(schema)), fields)

    decoded = decoder.decode(batch_of([payload, payload[:cut], payload, payload + b"\0", payload]))

    assert decoded.columns.rows.tolist() == [0, 2, 4]
    assert decoded.rejects.rows.tolist() == [1, 3]
    assert list(decoded.rejects)[1][1].error == "trailing"
