"""Hostile bytes: each of a million broken payloads ends as columns or as one reject, none is read beyond its end."""

from __future__ import annotations

import ctypes
import decimal
import io
import json
import math
import mmap
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import fastavro
import numpy as np
import pytest

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.schema import SchemaError, SchemaText
from stream_infer.avro.source import SingleSchema
from stream_infer.records import Batch, Blobs
from tests.unit.avro.avro_data import batch_of, encode, record, text

ROOT = Path(__file__).parents[3]
ENCODER_TESTS = str(Path(__file__).with_name("test_encoder.py"))
TOTAL = 200_000 if "NUMBA_BOUNDSCHECK" in os.environ else 1_000_000
ROWS = 8192
PAGE = mmap.PAGESIZE

NODE = record(("value", "int"), ("next", ["null", "Node"]), name="Node")
MIXED = record(
    ("event_id", ["null", "string"]),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["a", "b", "c"]}),
    ("entity", "string"),
    ("at", {"type": "long", "logicalType": "timestamp-micros"}),
    ("tags", {"type": "map", "values": ["null", "string", {"type": "array", "items": "long"}]}),
    ("price", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}),
    ("list", NODE),
    ("flags", {"type": "array", "items": "boolean"}),
    ("digest", {"type": "fixed", "name": "Digest", "size": 5}),
    ("voids", {"type": "array", "items": "null"}),
    ("m", record(("x", ["null", "double", "int"]), ("y", ["null", "float"]), name="M")),
    ("z", "float"),
)
MIXED_FIELDS = Fields(("m.x", "m.y", "z", "price"), 4, "entity", "at", "event_id")
ARRAY = record(("entity", ["string", "long"]), ("xs", {"type": "array", "items": ["null", "float", "int"]}))
ARRAY_FIELDS = Fields("xs", 5, "entity", None, None)
FLOATS = record(("entity", "string"), ("xs", {"type": "array", "items": "float"}), ("end", "string"))
FLOATS_FIELDS = Fields("xs", 5, "entity", None, None)


def mixed_datum(rng):
    node = None
    for value in range(rng.randrange(1, 4)):
        node = {"value": value, "next": node}
    return {
        "event_id": rng.choice([None, "id-1", "größe"]),
        "kind": rng.choice("abc"),
        "entity": rng.choice(["machine-1", "ß"]),
        "at": rng.randrange(10**15),
        "tags": {"a": rng.choice([None, "v", [1, 2, 3]]), "b": "long enough to be read by eights, ä"},
        "price": decimal.Decimal("12.34"),
        "list": node,
        "flags": [True, False],
        "digest": b"12345",
        "voids": [None] * rng.randrange(3),
        "m": {"x": rng.choice([None, 1.5, 3]), "y": rng.choice([None, 2.5])},
        "z": rng.random(),
    }


def array_datum(rng):
    return {"entity": rng.choice(["e", 12]), "xs": [rng.choice([None, 1.5, 7]) for _ in range(5)]}


def floats_datum(rng):
    return {"entity": "e", "xs": [rng.random() for _ in range(5)], "end": "the end"}


CLASSES = {
    "truncated",
    "varint",
    "length",
    "union",
    "enum",
    "boolean",
    "utf8",
    "trailing",
    "feature_count",
    "entity",
}
CASES = {
    "mixed": (MIXED, MIXED_FIELDS, mixed_datum),
    "array": (ARRAY, ARRAY_FIELDS, array_datum),
    "floats": (FLOATS, FLOATS_FIELDS, floats_datum),
}


class Guarded:
    """Memory that ends at a page nobody may read: one byte too far kills the process."""

    def __init__(self, size):
        pages = -(-size // PAGE)
        self._map = mmap.mmap(-1, (pages + 1) * PAGE)
        self._all = np.frombuffer(self._map, np.uint8)
        self._end = pages * PAGE
        libc = ctypes.CDLL(None, use_errno=True)
        address = self._all.ctypes.data + self._end
        assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0) == 0

    def holding(self, data):
        """A copy of data whose last byte is the last before the guard."""
        view = self._all[self._end - len(data) : self._end]
        view[:] = data
        return view


def seeds(schema, datum, rng):
    """Valid payloads, ROWS of them, end to end, and where they end."""
    few = [encode(schema, datum(rng)) for _ in range(256)]
    chosen = [few[number] for number in rng.choices(range(len(few)), k=ROWS)]
    return np.frombuffer(b"".join(chosen), np.uint8), np.cumsum([len(one) for one in chosen])


def mutate(data, ends, rng):
    """Break most rows, each in one to three places: other bytes, telling bytes, bits; cut some off short."""
    data, starts = data.copy(), np.concatenate(([0], ends[:-1]))
    lengths = ends - starts
    for _ in range(rng.integers(1, 4)):
        rows = rng.integers(0, len(ends), len(ends) * 2 // 3)
        places = starts[rows] + (rng.random(len(rows)) * lengths[rows]).astype(np.int64)
        telling = np.array([0, 1, 2, 3, 4, 127, 128, 129, 254, 255], np.uint8)[rng.integers(0, 10, len(rows))]
        kind = rng.integers(0, 3, len(rows))
        bits = data[places] ^ (1 << rng.integers(0, 8, len(rows))).astype(np.uint8)
        data[places] = np.choose(kind, [rng.integers(0, 256, len(rows)).astype(np.uint8), telling, bits])
    cut = np.where(rng.random(len(ends)) < 0.2, (rng.random(len(ends)) * lengths).astype(np.int64), lengths)
    inside = np.arange(len(data)) - np.repeat(starts, lengths) < np.repeat(cut, lengths)
    return data[inside], np.cumsum(cut)


def batch_over(data, ends):
    n = len(ends)
    return Batch(
        data,
        ends,
        np.zeros(n, bool),
        np.zeros(n, np.int32),
        np.arange(n),
        np.zeros(n, np.int64),
        Blobs.of([b"k"] * n),
    )


def values_of(datum):
    """The features of a datum that fastavro read."""
    inner = datum.get("m", {})
    wanted = datum.get("xs") or [inner["x"], inner["y"], datum["z"], datum["price"]]
    return [math.nan if value is None else float(value) for value in wanted]


def compare_with_fastavro(schema, payload, features, error):
    """One row's features, or the class of its reject, against what fastavro makes of it.

    fastavro reads more than is valid: negative union and enum indices, integers of any length, any byte as a
    boolean, blocks of any size in bytes, trailing bytes. But what it refuses must be refused here, what is accepted
    here must read the same, and it finds the end and bad texts just as well.
    """
    try:
        datum = fastavro.schemaless_reader(io.BytesIO(payload), schema)
    except Exception:  # noqa: BLE001 - it raises whatever Python raises
        assert features is None, payload
        return
    assert error not in ("truncated", "utf8"), payload
    if features is not None:
        np.testing.assert_allclose(features, values_of(datum), rtol=1e-15)


def check_sample(name, schema, batch, decoded):
    """Compare every 40th row with fastavro, if fastavro can be trusted with it.

    It cannot with what may be an array of a quintillion nulls: of the mixed schema only what was accepted.
    """
    errors = {row: fault.error for row, fault in decoded.rejects}
    features = dict(zip(decoded.columns.rows.tolist(), decoded.columns.features, strict=True))
    starts = np.concatenate(([0], batch.ends[:-1]))
    sample = [row for row in range(0, len(batch), 40) if name != "mixed" or row in features]
    for row in sample:
        payload = batch.payload[starts[row] : batch.ends[row]].tobytes()
        compare_with_fastavro(schema, payload, features.get(row), errors.get(row))
    return len(sample)


@pytest.mark.slow
def test_a_million_mutations_end_as_columns_or_rejects():
    rng, choice = np.random.default_rng(7), random.Random(7)
    total = compared = 0
    classes = set()
    for name, (schema, fields, datum) in CASES.items():
        decoder = Decoder(SingleSchema(text(schema)), fields)
        data, ends = seeds(schema, datum, choice)
        guarded = Guarded(len(data))
        parsed = fastavro.parse_schema(schema)
        for round_ in range(-(-TOTAL // (ROWS * len(CASES)))):
            mutated, mutated_ends = mutate(data, ends, rng)
            batch = batch_over(guarded.holding(mutated), mutated_ends)
            decoded = decoder.decode(batch)
            rows = np.concatenate((decoded.columns.rows, decoded.rejects.rows))
            assert np.array_equal(np.sort(rows), np.arange(len(batch))), name
            assert decoded.columns.features.shape == (len(decoded.columns), fields.feature_count)
            total += len(batch)
            classes.update(fault.error for _, fault in decoded.rejects)
            if round_ % 10 == 0:
                compared += check_sample(name, parsed, batch, decoded)
    assert total >= TOTAL
    assert compared > TOTAL / 1000
    assert classes >= CLASSES


@pytest.mark.parametrize("name", CASES)
def test_no_byte_beyond_a_payload_is_read(name):
    """Every cut of valid payloads, each alone before a page that nobody may read."""
    schema, fields, datum = CASES[name]
    decoder = Decoder(SingleSchema(text(schema)), fields)
    payload = np.frombuffer(encode(schema, datum(random.Random(1))), np.uint8)
    guarded = Guarded(len(payload))
    for length in range(len(payload) + 1):
        decoded = decoder.decode(batch_over(guarded.holding(payload[:length]), np.array([length])))
        assert len(decoded.columns) == (length == len(payload))


def test_the_guard_does_kill():
    """Else the tests above prove nothing."""
    code = (
        "import sys, numpy as np\n"
        "from tests.unit.avro.test_fuzz import Guarded\n"
        "view = Guarded(10).holding(np.zeros(10, np.uint8))\n"
        "import ctypes; ctypes.string_at(view.ctypes.data, 10); print('inside', flush=True)\n"
        "ctypes.string_at(view.ctypes.data, 11)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "inside\n"
    assert done.returncode == -signal.SIGSEGV


BOUNDS_CHECKED = """
import sys
import numpy as np, pytest
from stream_infer.kernel import kernel

@kernel
def third(values):
    return values[2]

with pytest.raises(IndexError):
    third(np.zeros(2))
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_no_array_is_overrun_reading_or_writing(tmp_path):
    """A fifth of the million, and the encoder, compiled so that every index is checked."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS_CHECKED, __file__, ENCODER_TESTS, "-k", "million or encode_equals"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


VOID = record(("entity", "string"), ("voids", {"type": "array", "items": "null"}))
EMPTY = record(("entity", "string"), ("voids", {"type": "array", "items": record(name="Empty")}))
DECIMAL = record(
    ("entity", "string"), ("x", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2})
)
LIST = record(("entity", "string"), ("list", ["null", NODE]))
TREE = record(
    ("entity", "string"), ("tree", record(("kids", {"type": "array", "items": "Tree"}), name="Tree"))
)
HUGE = bytes.fromhex("fe" + "ff" * 8 + "01")  # 2**63 - 1
LEAST = b"\xff" * 9 + b"\x01"  # -2**63
BIG = b"\x80\xb5\x18" + b"\x7f" * 200_000  # 200,000 bytes

BOMBS = {
    "9e18 nulls": (VOID, HUGE + b"\0", "length"),
    "9e18 nulls in a block of no bytes": (VOID, LEAST + b"\0\0", "length"),
    "9e18 empty records": (EMPTY, HUGE + b"\0", "length"),
    "a million nulls, a hundred thousand times": (VOID, b"\x80\x80\x80\x01" * 100_000, "truncated"),
    "a list of 100,000 nodes": (LIST, b"\x02\x02" * 100_000, "depth"),
    "a tree 100,000 deep": (TREE, b"\x02" * 100_000, "depth"),
    "a 200 KB decimal": (DECIMAL, BIG, "decimal"),
    "a string of 9e18 bytes": (FLOATS, HUGE, "truncated"),
    "an integer without end": (FLOATS, b"\x80" * 100_000, "varint"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_at_once_and_take_no_memory(name):
    schema, bomb, error = BOMBS[name]
    features = ("x",) if schema is DECIMAL else ("n",)
    if schema is not DECIMAL:
        schema = {**schema, "fields": [*schema["fields"], {"name": "n", "type": "int"}]}
    decoder = Decoder(SingleSchema(text(schema)), Fields(features, 1, "entity", None, None))
    batch = batch_of([b"\x02e" + bomb])
    decoder.decode(batch)
    took_s = min(timed(decoder, batch) for _ in range(5))
    tracemalloc.start()
    decoder.decode(batch)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [fault.error for _, fault in decoder.decode(batch).rejects] == [error]
    assert took_s < 0.01
    assert peak_bytes < 1_000_000


def timed(decoder, batch):
    started = time.thread_time()
    decoder.decode(batch)
    return time.thread_time() - started


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "array", "items": ' * 50_000,
        '{"type": "array", "items": ' * 200 + '"int"' + "}" * 200,
        "[" * 100_000,
        json.dumps(record(*((f"f{number}", "int") for number in range(30_000)))),
        json.dumps(
            [
                record(("x", f"R{number - 1}" if number else "int"), name=f"R{number}")
                for number in range(3000)
            ]
        ),
    ],
)
def test_a_hostile_schema_is_refused_at_once(schema):
    started = time.process_time()
    with pytest.raises(SchemaError):
        Decoder(SingleSchema("{}"), Fields(("x",), 1, None, None, None)).check(schema)
    assert time.process_time() - started < 10


def test_types_that_double_at_every_level_stay_small():
    """Sixty records, each with two of the one before: 2**60 values if they were unfolded."""
    levels = [record(("n", "null"), name="L0")] + [
        record(("a", f"L{number - 1}"), ("b", f"L{number - 1}"), name=f"L{number}") for number in range(1, 60)
    ]
    schema = SchemaText(text(record(("x", "int"), ("deep", "L59"))), tuple(map(text, levels)))
    Decoder(SingleSchema("{}"), Fields(("x",), 1, None, None, None)).check(schema)
