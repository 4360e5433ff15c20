"""What the encoder of comparisons writes is byte for byte what fastavro writes."""

from __future__ import annotations

import json

import fastavro
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.avro import schemas
from stream_infer.avro.comparison import ComparisonEncoder, contributions
from stream_infer.avro.put import string
from stream_infer.pairs import Pairs, Side
from stream_infer.records import Text
from tests.unit.avro.avro_data import encode, framed

SCHEMA = fastavro.parse_schema(json.loads(schemas.text("comparison")))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
INSTANTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)
TEXTS = st.text(max_size=40)

SIDE = st.fixed_dictionaries(
    {
        "model_name": TEXTS,
        "model_version": TEXTS,
        "scored": st.booleans(),
        "score": NUMBERS,
        "threshold": NUMBERS,
        "is_anomaly": st.booleans(),
        "window_full": st.booleans(),
        "error": TEXTS,
        "reason": st.text(max_size=300),
        "contributions": st.lists(st.tuples(TEXTS, st.floats(0, 1, width=32)), max_size=3),
        "published_at": INSTANTS,
    }
)
ROW = st.fixed_dictionaries(
    {
        "event_id": TEXTS,
        "entity": TEXTS,
        "time": INSTANTS,
        "input_time": st.integers(-1, 253_402_300_799_999),
        "partition": st.integers(0, 2**31 - 1),
        "offset": st.integers(0, 2**63 - 1),
        "primary": SIDE,
        "shadow": SIDE,
    }
)


def text_of(rows, key) -> Text:
    return Text.of([row[key].encode() for row in rows])


def side_of(rows) -> Side:
    def array(key, dtype):
        return np.array([row[key] for row in rows], dtype)

    names = text_of(rows, "model_name")
    return Side(
        names,
        text_of(rows, "model_version"),
        array("scored", np.bool_),
        array("score", np.float64),
        array("threshold", np.float64),
        array("is_anomaly", np.bool_),
        array("window_full", np.bool_),
        text_of(rows, "error"),
        text_of(rows, "reason"),
        Text.of(
            [
                contributions([(string(name), share) for name, share in row["contributions"]])
                if row["contributions"]
                else b""
                for row in rows
            ]
        ),
        array("published_at", np.int64),
    )


def expected_side(side):
    kept = {key: side[key] for key in ("model_name", "model_version", "published_at")}
    kept["contributions"] = [{"feature": name, "share": share} for name, share in side["contributions"]]
    for key in ("score", "threshold", "is_anomaly", "window_full"):
        kept[key] = side[key] if side["scored"] else None
    for key in ("error", "reason"):
        kept[key] = None if side["scored"] else side[key]
    return kept


def expected(row):
    primary, shadow = row["primary"], row["shadow"]
    both = primary["scored"] and shadow["scored"]
    return {
        "event_id": row["event_id"] or f"events.in-{row['partition']}-{row['offset']}",
        **{key: row[key] for key in ("entity", "time", "input_time")},
        "source_topic": "events.in",
        "source_partition": row["partition"],
        "source_offset": row["offset"],
        "shadow_id": "smd-schatten-ä",
        "primary": expected_side(primary),
        "shadow": expected_side(shadow),
        "delta": shadow["score"] - primary["score"] if both else None,
        "agreement": shadow["is_anomaly"] == primary["is_anomaly"] if both else None,
    }


@settings(deadline=None, max_examples=200)
@given(st.lists(ROW, max_size=5), st.sampled_from([None, 0, 7, 2**32 - 1]))
def test_encode_equals_fastavro(rows, schema_id):
    pairs = Pairs(
        text_of(rows, "event_id"),
        text_of(rows, "entity"),
        np.array([row["time"] for row in rows], np.int64),
        np.array([row["input_time"] for row in rows], np.int64),
        np.array([row["partition"] for row in rows], np.int32),
        np.array([row["offset"] for row in rows], np.int64),
        side_of([row["primary"] for row in rows]),
        side_of([row["shadow"] for row in rows]),
    )

    buffer, ends = ComparisonEncoder(schema_id, "events.in", "smd-schatten-ä").encode(pairs)

    bodies = [encode(SCHEMA, expected(row)) for row in rows]
    values = [body if schema_id is None else framed(schema_id, body) for body in bodies]
    assert buffer.tobytes() == b"".join(values)
    assert ends.tolist() == np.cumsum([len(value) for value in values], dtype=int).tolist()
