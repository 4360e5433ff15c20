"""Decode, case by case: resolution, types of each role, statuses, several schemas in a batch."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct

import numpy as np
import pytest

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.kernel import check_keys, read_frames, run_program
from stream_infer.avro.schema import SchemaError, SchemaText
from stream_infer.avro.source import SingleSchema, UnknownSchemaError
from stream_infer.errors import ConfigError, RegistryError
from tests.unit.avro.avro_data import RECORD_TIME_MS, batch_of, encode, framed, record, text

EVENT = record(("entity", "string"), ("x", "double"))
X = Fields(("x",), 1, "entity", None, None)


class Schemas:
    """Schemas by id; an id above 1000 cannot be looked up now."""

    framed = True

    def __init__(self, **texts):
        self.texts = {int(name[1:]): value for name, value in texts.items()}
        self.asked = []

    def get(self, schema_id):
        self.asked.append(schema_id)
        if schema_id > 1000:
            raise RegistryError("down")
        if schema_id not in self.texts:
            raise UnknownSchemaError(f"no schema {schema_id}")
        return SchemaText(text(self.texts[schema_id]))


def decode(schema, payloads, fields=X, **batch):
    return Decoder(SingleSchema(text(schema)), fields).decode(batch_of(payloads, **batch))


def decode_one(schema, datum, fields=X, **batch):
    decoded = decode(schema, [encode(schema, datum)], fields, **batch)
    assert list(decoded.rejects) == []
    return decoded.columns


def reject_of(schema, payload, fields=X, **batch):
    """The class and the reason of a payload that is rejected, while its neighbours are not."""
    decoded = decode(schema, [payload], fields, **batch)
    assert decoded.rejects.rows.tolist() == [0]
    assert len(decoded.columns) == 0
    ((_, fault),) = decoded.rejects
    return fault.error, fault.reason


# Resolution


def test_a_field_goes_by_an_alias_of_the_writer():
    schema = record(("entity", "string"))
    schema["fields"].append({"name": "temperature", "aliases": ["temp", "x"], "type": "float"})
    assert decode_one(schema, {"entity": "e", "temperature": 1.5}).features.tolist() == [[1.5]]


def test_a_name_goes_before_an_alias():
    schema = record(("entity", "string"))
    schema["fields"] += [{"name": "y", "aliases": ["x"], "type": "float"}, {"name": "x", "type": "float"}]
    assert decode_one(schema, {"entity": "e", "y": 1.0, "x": 2.0}).features.tolist() == [[2.0]]


def test_features_come_in_the_order_of_the_model_whatever_the_writers():
    schema = record(("c", "int"), ("entity", "string"), ("a", "float"), ("b", "double"))
    columns = decode_one(
        schema, {"a": 1, "b": 2, "c": 3, "entity": "e"}, Fields(("a", "b", "c"), 3, "entity", None, None)
    )
    assert columns.features.tolist() == [[1.0, 2.0, 3.0]]


def test_one_field_may_have_several_uses():
    schema = record(("id", "long"), ("n", ["null", "long"]))
    columns = decode_one(schema, {"id": 7, "n": None}, Fields(("id", "n", "id"), 3, "id", "id", "id"))
    np.testing.assert_array_equal(columns.features, [[7.0, math.nan, 7.0]])
    assert (columns.entity[0], columns.event_id[0], columns.time_ms[0]) == (b"7", b"7", 7)


def test_a_path_goes_through_records_and_nullable_records():
    inner = record(("x", "int"), ("ys", {"type": "array", "items": "string"}), name="Inner")
    schema = record(("a", ["null", record(("b", inner), name="Middle")]), ("entity", "string"))
    fields = Fields(("a.b.x",), 1, "entity", None, None)
    assert decode_one(
        schema, {"a": {"b": {"x": 4, "ys": ["s"]}}, "entity": "e"}, fields
    ).features.tolist() == [[4.0]]
    assert math.isnan(decode_one(schema, {"a": None, "entity": "e"}, fields).features[0, 0])


def test_each_record_branch_gives_what_it_has():
    one, two = record(("x", "int"), name="One"), record(("x", "double"), ("y", "int"), name="Two")
    schema = record(("v", [one, "string", two]), ("entity", "string"))
    fields = Fields(("v.x", "v.y"), 2, "entity", None, None)
    rows = [{"v": ("One", {"x": 1})}, {"v": "text"}, {"v": ("Two", {"x": 0.5, "y": 2})}]
    decoded = decode(schema, [encode(schema, {**row, "entity": "e"}) for row in rows], fields)
    np.testing.assert_array_equal(decoded.columns.features, [[1, math.nan], [math.nan, math.nan], [0.5, 2]])


def test_a_branch_that_is_no_number_counts_as_missing():
    schema = record(("entity", "string"), ("x", ["string", "double"]))
    assert math.isnan(decode_one(schema, {"entity": "e", "x": "12"}).features[0, 0])


def test_recursive_records_are_read_over():
    node = record(("value", "int"), ("next", ["null", "Node"]), name="Node")
    schema = record(("list", node), ("entity", "string"), ("x", "double"))
    deep = None
    for value in range(60):
        deep = {"value": value, "next": deep}
    assert decode_one(schema, {"list": deep, "entity": "e", "x": 1.0}).features.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("schema", "fields", "message"),
    [
        (EVENT, Fields(("y",), 1, "entity", None, None), "features field 'y' is not in record Event"),
        (EVENT, Fields(("x",), 1, "entty", None, None), "entity field 'entty' .*; did you mean 'entity'"),
        (
            EVENT,
            Fields(("entity",), 1, "entity", None, None),
            "features field 'entity' is string; it must be a number",
        ),
        (
            EVENT,
            Fields("x", 1, "entity", None, None),
            "features field 'x' is double; it must be an array of numbers",
        ),
        (
            EVENT,
            Fields(("x",), 1, "entity", "entity", None),
            "time field 'entity' is string; it must be a timestamp",
        ),
        (EVENT, Fields(("x",), 1, "entity", None, "x"), "event_id field 'x' is double; it must be a string"),
        (
            record(("a", {"type": "map", "values": EVENT}), name="Outer"),
            Fields(("a.x",), 1, None, None, None),
            "field 'a' is map; a path goes through records only",
        ),
        (record(("x", record(("self", "Event")))), X, "Event.*twice"),
        (record(("self", "Event")), X, "contains itself without end"),
        (record(("x", "Nowhere")), X, "'Nowhere', which neither it nor its references define"),
        ([], X, "union without branches"),
        ({"type": "fixed", "name": "F", "size": -1}, X, "size must be a number of bytes"),
        ({"type": "enum", "name": "E", "symbols": []}, X, "at least one name"),
        ({"type": "record", "name": "1", "fields": []}, X, "is not an Avro name"),
        ({"type": "record", "name": "R"}, X, "lacks a valid 'fields'"),
        (record(("a\n", "int")), X, r"a field named 'a\\n'"),
        ({"type": "enum", "name": "E", "symbols": ["\ud800"]}, X, "at least one name"),
        ("int", X, "an event is int; a path goes through records only"),
        (7, X, "7 is not an Avro type"),
    ],
)
def test_a_schema_that_does_not_fit_is_one_error_that_says_why(schema, fields, message):
    with pytest.raises(SchemaError, match=message):
        Decoder(SingleSchema("{}"), fields).check(text(schema))


def test_every_problem_is_named_at_once():
    with pytest.raises(SchemaError, match=r"'a' is not in.*'b' is not in"):
        Decoder(SingleSchema("{}"), Fields(("a", "b"), 2, None, None, None)).check(text(EVENT))


def test_of_many_problems_a_few_are_named():
    fields = Fields(tuple(f"f{number}" for number in range(38)), 38, "entity", None, None)
    with pytest.raises(SchemaError, match=r"'f4' is not in record Event; and 33 more$"):
        Decoder(SingleSchema("{}"), fields).check(text(EVENT))


def test_fields_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="names 1 fields, but the model takes 2"):
        Fields(("x",), 2, None, None, None)
    with pytest.raises(ConfigError, match="not a field path"):
        Fields(("a..b",), 1, None, None, None)


# Types


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("boolean", True, 1.0),
        ("int", -(2**31), -(2.0**31)),
        ("long", 2**62 + 1, float(2**62 + 1)),
        ("float", 0.1, struct.unpack("f", struct.pack("f", 0.1))[0]),
        ("double", math.inf, math.inf),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            decimal.Decimal("-12.34"),
            -12.34,
        ),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 3},
            decimal.Decimal(10**30),
            1e30,
        ),
        (
            {"type": "fixed", "size": 6, "name": "F", "logicalType": "decimal", "precision": 12, "scale": 1},
            decimal.Decimal("5.5"),
            5.5,
        ),
        ({"type": "int", "logicalType": "date"}, dt.date(1970, 1, 11), 10.0),
    ],
)
def test_features_of_every_numeric_type(type_, value, expected):
    schema = record(("x", type_), ("entity", "string"))
    assert decode_one(schema, {"x": value, "entity": "e"}).features[0, 0] == pytest.approx(
        expected, rel=2e-16
    )


def test_feature_arrays_of_mixed_items():
    schema = record(
        ("entity", "string"), ("xs", {"type": "array", "items": ["null", "int", "string", "double"]})
    )
    columns = decode_one(
        schema, {"entity": "e", "xs": [1, None, "s", 0.5]}, Fields("xs", 4, "entity", None, None)
    )
    np.testing.assert_array_equal(columns.features, [[1.0, math.nan, math.nan, 0.5]])


@pytest.mark.parametrize("items", ["float", "double", "int", ["null", "float"]])
@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_feature_array_of_another_length_is_a_reject(items, count):
    schema = record(("entity", "string"), ("xs", {"type": "array", "items": items}))
    payload = encode(schema, {"entity": "e", "xs": [1] * count})
    assert reject_of(schema, payload, Fields("xs", 3, "entity", None, None))[0] == "feature_count"


def test_a_decimal_of_no_bytes_is_no_number():
    empty = {"type": "fixed", "name": "F", "size": 0, "logicalType": "decimal", "precision": 1, "scale": 0}
    with pytest.raises(SchemaError, match="must be an array of numbers"):
        Decoder(SingleSchema("{}"), Fields("xs", 3, None, None, None)).check(
            text(record(("xs", {"type": "array", "items": empty})))
        )


def test_a_null_feature_array_is_a_reject():
    schema = record(("entity", "string"), ("xs", ["null", {"type": "array", "items": "float"}]))
    payload = encode(schema, {"entity": "e", "xs": None})
    assert reject_of(schema, payload, Fields("xs", 3, "entity", None, None))[0] == "feature_count"


@pytest.mark.parametrize("items", ["float", "double", "int"])
def test_a_feature_array_in_several_blocks_some_with_their_size(items):
    one = {"float": b"\0\0\x80\x3f", "double": b"\0" * 6 + b"\xf0\x3f", "int": b"\x02"}[items]
    schema = record(("entity", "string"), ("xs", {"type": "array", "items": items}))
    sized = b"\x03" + bytes([2 * len(one) * 2]) + one * 2  # -2 items, their bytes
    payload = b"\x02e" + b"\x02" + one + sized + b"\0"
    fields = Fields("xs", 3, "entity", None, None)
    assert decode(schema, [payload], fields).columns.features.tolist() == [[1.0, 1.0, 1.0]]
    wrong = payload.replace(sized, b"\x03" + bytes([2 * len(one) * 2 + 2]) + one * 2)
    assert reject_of(schema, wrong, fields)[0] in ("length", "truncated")


ENTITIES = [
    ("string", "grün", "grün"),
    ("int", -5, "-5"),
    ("long", -(2**63), "-9223372036854775808"),
    ("long", 0, "0"),
    ("bytes", b"raw", "raw"),
    ({"type": "fixed", "name": "F", "size": 3}, b"abc", "abc"),
    ({"type": "enum", "name": "E", "symbols": ["A", "LONGER"]}, "LONGER", "LONGER"),
    (["null", "string", "long"], 12, "12"),
    (
        {"type": "string", "logicalType": "uuid"},
        "12345678-1234-5678-1234-567812345678",
        "12345678-1234-5678-1234-567812345678",
    ),
]


@pytest.mark.parametrize(("type_", "value", "expected"), ENTITIES)
def test_entities_and_event_ids_of_every_type(type_, value, expected):
    schema = record(("who", type_), ("x", "double"))
    columns = decode_one(schema, {"who": value, "x": 1.0}, Fields(("x",), 1, "who", None, "who"))
    assert columns.entity[0].decode() == expected
    assert columns.event_id[0].decode() == expected


@pytest.mark.parametrize(
    ("type_", "value"),
    [("string", ""), (["null", "string"], None), (["string", "double"], 1.5), ("string", "x" * 5000)],
)
def test_an_event_without_a_usable_entity_is_a_reject(type_, value):
    schema = record(("entity", type_), ("x", "double"))
    error, reason = reject_of(schema, encode(schema, {"entity": value, "x": 1.0}))
    assert error == "entity"
    assert "entity" in reason


def test_an_event_without_an_id_is_none():
    schema = record(("entity", "string"), ("x", "double"), ("id", ["null", "string"]))
    fields = Fields(("x",), 1, "entity", None, "id")
    assert decode_one(schema, {"entity": "e", "x": 1.0, "id": None}, fields).event_id[0] == b""


def test_the_entity_may_be_the_message_key():
    schema, fields = record(("x", "double")), Fields(("x",), 1, None, None, None)
    decoded = decode(schema, [bytes(8)] * 4, fields, keys=[b"a", None, b"\xff", "ä".encode()])
    assert [decoded.columns.entity[row].decode() for row in range(2)] == ["a", "ä"]
    assert [(row, fault.error) for row, fault in decoded.rejects] == [
        (1, "entity"),
        (2, "utf8"),
    ]


@pytest.mark.parametrize(
    ("type_", "value", "expected_ms"),
    [
        ("long", 1_700_000_000_123, 1_700_000_000_123),
        ({"type": "long", "logicalType": "timestamp-millis"}, 5, 5),
        ({"type": "long", "logicalType": "timestamp-micros"}, -1, -1),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_999_999, 1),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, 5_000, 5),
        ({"type": "int", "logicalType": "date"}, 1, 86_400_000),
        ("int", 1_700_000_000, 1_700_000_000_000),
        ("double", 1_700_000_000.123, 1_700_000_000_123),
        ("float", 2.5, 2500),
        (["null", "long"], None, RECORD_TIME_MS),
        (["null", "string", "long"], "yesterday", RECORD_TIME_MS),
    ],
)
def test_times_of_every_type(type_, value, expected_ms):
    schema = record(("entity", "string"), ("x", "double"), ("at", type_))
    fields = Fields(("x",), 1, "entity", "at", None)
    assert decode_one(schema, {"entity": "e", "x": 1.0, "at": value}, fields).time_ms.tolist() == [
        expected_ms
    ]


@pytest.mark.parametrize(
    ("type_", "value"),
    [("long", 1_700_000_000_000_000), ("long", -(2**63)), ("double", math.nan), ("double", 1e300)],
)
def test_a_time_outside_of_the_calendar_is_a_reject(type_, value):
    schema = record(("entity", "string"), ("x", "double"), ("at", type_))
    payload = encode(schema, {"entity": "e", "x": 1.0, "at": value})
    assert reject_of(schema, payload, Fields(("x",), 1, "entity", "at", None))[0] == "time"


def test_a_record_without_any_time_is_a_reject():
    assert reject_of(EVENT, encode(EVENT, {"entity": "e", "x": 1.0}), timestamp_ms=-1)[0] == "time"


def test_time_of_day_is_no_time():
    with pytest.raises(SchemaError, match="time-millis; it must be a timestamp"):
        Decoder(SingleSchema("{}"), Fields(("x",), 1, None, "at", None)).check(
            text(record(("x", "int"), ("at", {"type": "int", "logicalType": "time-millis"})))
        )


# Statuses


SKIPPED = {
    "truncated": [
        ("bytes", b"\x7e"),
        ("string", b"\x04a"),
        ("long", b"\x80"),
        ("float", b"abc"),
        ("int", b""),
    ],
    "varint": [("long", b"\xff" * 9 + b"\x02"), ("long", b"\x80" * 11), ("int", b"\xff\xff\xff\xff\x1f")],
    "length": [
        ("bytes", b"\x01"),
        ("string", b"\xff" * 9 + b"\x01"),
        ({"type": "array", "items": "int"}, b"\xff" * 9 + b"\x01\x00"),
        ({"type": "array", "items": "null"}, b"\xfe" * 9 + b"\x01\x00"),
        ({"type": "array", "items": "int"}, b"\x01\x04\x02\x00"),
    ],
    "union": [(["null", "int"], b"\x04"), (["null", "int"], b"\x01")],
    "enum": [
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x01"),
    ],
    "boolean": [("boolean", b"\x02")],
    "utf8": [
        ("string", bytes([2 * len(bad)]) + bad)
        for bad in (
            b"\xff",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe0\x80\x80",
            b"\xe2\x82",
            b"a" * 9 + b"\x80",
        )
    ]
    + [({"type": "map", "values": "int"}, b"\x02\x02\xff\x02\x00")],
}


@pytest.mark.parametrize(
    ("error", "type_", "bad"), [(error, *case) for error, cases in SKIPPED.items() for case in cases]
)
def test_what_is_wrong_with_a_value_that_is_read_over(error, type_, bad):
    schema = record(("entity", "string"), ("x", "double"), ("skipped", type_))
    payload = encode(EVENT, {"entity": "e", "x": 1.0}) + bad
    found, reason = reject_of(schema, payload)
    assert found == error
    assert "byte 10 of the event, field skipped" in reason or type_ != "int"


def test_trailing_bytes():
    assert reject_of(EVENT, encode(EVENT, {"entity": "e", "x": 1.0}) + b"\0")[0] == "trailing"


def test_null_and_too_large():
    decoded = decode(EVENT, [None, b"x" * 100], Fields(("x",), 1, "entity", None, None, max_event_bytes=99))
    assert [fault.error for _, fault in decoded.rejects] == ["null", "too_large"]


def test_nesting_beyond_the_limit_is_a_reject():
    schema = record(
        ("list", record(("next", ["null", "Node"]), name="Node")), ("entity", "string"), ("x", "double")
    )
    assert reject_of(schema, b"\x02" * 200_000)[0] == "depth"


def test_an_empty_batch():
    decoded = decode(EVENT, [])
    assert (len(decoded.columns), len(decoded.rejects), len(decoded.waiting)) == (0, 0, 0)
    assert decoded.columns.features.shape == (0, 1)


# Frames and schema ids


def test_several_schemas_in_a_batch_each_row_by_its_own():
    kinds = [{"type": "enum", "name": "E", "symbols": [f"{letter}1", f"{letter}2"]} for letter in "ab"]
    schemas = Schemas(
        s1=record(("entity", kinds[0]), ("x", "double")),
        s2=record(("x", "int"), ("entity", kinds[1])),
        s3=record(("entity", "long"), ("x", "float")),
        s4=record(("nothing", "int")),
    )
    payloads = [
        framed(1, b"\x02" + struct.pack("<d", 1.0)),
        framed(2, b"\x04\x00"),
        framed(4, b"\x02"),
        framed(3, b"\x54" + struct.pack("<f", 3.0)),
        framed(5, b"\x02"),
        framed(1, b"\x00" + struct.pack("<d", 4.0)),
        framed(4711, b"\x02"),
        b"\x01" + framed(1, b"\x02"),
        b"\0\0\0",
    ]
    decoder = Decoder(schemas, X)

    decoded = decoder.decode(batch_of(payloads))

    assert decoded.columns.rows.tolist() == [0, 1, 3, 5]
    assert [decoded.columns.entity[row] for row in range(4)] == [b"a2", b"b1", b"42", b"a1"]
    assert decoded.columns.features.ravel().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert decoded.rejects.rows.tolist() == [2, 4, 7, 8]
    assert [fault.error for _, fault in decoded.rejects] == ["schema", "schema_unknown", "magic", "truncated"]
    assert next(iter(decoded.rejects))[1].reason.startswith(
        "schema 4: features field 'x' is not in record Event"
    )
    assert decoded.waiting.tolist() == [6]


def test_a_schema_is_looked_up_once_an_unknown_or_waiting_one_again():
    schemas = Schemas(s1=EVENT, s2=record(("nothing", "int")))
    decoder = Decoder(schemas, X)
    batch = batch_of(
        [framed(schema_id, encode(EVENT, {"entity": "e", "x": 1.0})) for schema_id in (1, 2, 3, 4711)]
    )
    for _ in range(3):
        decoder.decode(batch)
    assert sorted(schemas.asked) == [1, 2, 3, 3, 3, 4711, 4711, 4711]


def test_check_by_id():
    decoder = Decoder(Schemas(s1=EVENT, s2=record(("nothing", "int"))), X)
    decoder.check(1)
    with pytest.raises(SchemaError, match=r"schema 2: .*'x' is not in"):
        decoder.check(2)
    with pytest.raises(SchemaError, match="no schema 3"):
        decoder.check(3)
    with pytest.raises(RegistryError):
        decoder.check(4711)


def test_references_define_names_for_those_after_them():
    point = SchemaText('{"type": "fixed", "name": "geo.Point", "size": 2}')
    place = record(("at", "geo.Point"), name="Place")
    schema = SchemaText(
        text(record(("entity", "string"), ("place", "Place"), ("x", "double"))), (point.text, text(place))
    )
    Decoder(SingleSchema("{}"), X).check(schema)


def test_warm_up_needs_no_schema():
    Decoder(Schemas(), X).warm_up()


def test_arrays_of_any_make_do_not_compile_again():
    """A compile takes seconds: the kernels must have all the types they need from warm-up."""
    decoder = Decoder(Schemas(s1=EVENT), Fields(("x",), 1, None, None, None))
    decoder.warm_up()
    kernels = (run_program, read_frames, check_keys)
    compiled = [len(kernel.signatures) for kernel in kernels]
    payloads = [framed(1, encode(EVENT, {"entity": "e", "x": 1.0}))] * 4
    plain = batch_of(payloads)
    odd = batch_of(payloads)
    odd.payload = np.repeat(odd.payload, 2)[::2]
    odd.ends = np.repeat(odd.ends.astype(np.int32), 2)[::2]
    odd.null = np.broadcast_to(np.False_, 4)
    odd.timestamp_ms = np.broadcast_to(np.int64(5), 4)
    for batch in (plain, odd):
        assert len(decoder.decode(batch).columns) == 4
    assert [len(kernel.signatures) for kernel in kernels] == compiled
