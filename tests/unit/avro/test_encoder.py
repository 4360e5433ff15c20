"""What the encoder writes is byte for byte what fastavro writes."""

from __future__ import annotations

import json

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.avro import schemas
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.records import Columns, Scores, Text
from tests.unit.avro.avro_data import batch_of, encode, framed

SCHEMA = fastavro.parse_schema(json.loads(schemas.text("scored_event")))
ORDER = ["in_order", "late", "repeated"]
ALERT = ["none", "begins", "continues", "ends"]
NAMES = ["cpu", "mémoire", "x" * 80]
SHARES = st.floats(0, 1, width=32)

ROW = st.fixed_dictionaries(
    {
        "event_id": st.text(max_size=200).filter(lambda text: len(text.encode()) < 500),
        "entity": st.text(min_size=1, max_size=100),
        "time": st.integers(-62_135_596_800_000, 253_402_300_799_999),
        "score": st.floats(allow_nan=False),
        "threshold": st.floats(allow_nan=False),
        "is_anomaly": st.booleans(),
        "alert": st.integers(0, 3),
        "top": st.lists(st.tuples(st.integers(-1, 2), SHARES), min_size=3, max_size=3),
        "window_full": st.booleans(),
        "time_order": st.integers(0, 2),
        "partition": st.integers(0, 2**31 - 1),
        "offset": st.integers(0, 2**63 - 1),
    }
)


def columns_of(rows, indices, *, with_ids):
    def array(key, dtype):
        return np.array([row[key] for row in rows], dtype)

    ids = Text.of([row["event_id"].encode() for row in rows]) if with_ids else None
    columns = Columns(
        indices,
        Text.of([row["entity"].encode() for row in rows]),
        ids,
        array("time", np.int64),
        np.zeros((len(rows), 3)),
    )
    scores = Scores(
        array("score", np.float64),
        array("threshold", np.float64),
        array("is_anomaly", np.bool_),
        np.array([[feature for feature, _ in row["top"]] for row in rows], np.int32).reshape(-1, 3),
        np.array([[share for _, share in row["top"]] for row in rows], np.float32).reshape(-1, 3),
        array("window_full", np.bool_),
        array("time_order", np.uint8),
        array("alert", np.uint8),
    )
    return columns, scores


def expected(row, *, with_id):
    made_up = f"events.in-{row['partition']}-{row['offset']}"
    return {
        "event_id": (row["event_id"] if with_id else "") or made_up,
        **{key: row[key] for key in ("entity", "time", "score", "threshold", "is_anomaly", "window_full")},
        "contributions": [
            {"feature": NAMES[feature], "share": share} for feature, share in row["top"] if feature >= 0
        ],
        "time_order": ORDER[row["time_order"]],
        "alert": ALERT[row["alert"]],
        "model_name": "smd",
        "model_version": "2026-01",
        "source_topic": "events.in",
        "source_partition": row["partition"],
        "source_offset": row["offset"],
    }


@settings(deadline=None, max_examples=300)
@given(st.lists(ROW, max_size=6), st.booleans(), st.sampled_from([None, 0, 7, 2**32 - 1]))
def test_encode_equals_fastavro(rows, with_ids, schema_id):
    # Every second record of the batch was a reject: rows of the columns are not rows of the batch.
    batch = batch_of([b""] * (2 * len(rows)))
    indices = np.arange(0, 2 * len(rows), 2)
    batch.partition[indices] = [row["partition"] for row in rows]
    batch.offset[indices] = [row["offset"] for row in rows]
    columns, scores = columns_of(rows, indices, with_ids=with_ids)

    buffer, ends = ScoredEncoder(schema_id, NAMES, "smd", "2026-01", "events.in").encode(
        batch, columns, scores
    )

    bodies = [encode(SCHEMA, expected(row, with_id=with_ids)) for row in rows]
    values = [body if schema_id is None else framed(schema_id, body) for body in bodies]
    assert buffer.tobytes() == b"".join(values)
    assert ends.tolist() == np.cumsum([len(value) for value in values], dtype=int).tolist()


def test_packaged_schemas_are_found_by_name():
    assert json.loads(schemas.text("scored_event"))["name"] == "ScoredEvent"
    with pytest.raises(FileNotFoundError, match=r"nothing\.avsc"):
        schemas.text("nothing")
