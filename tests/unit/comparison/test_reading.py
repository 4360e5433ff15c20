"""A comparison read from its Avro form, and from the Parquet file it is exported to, is the same."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_infer.avro import schemas
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.comparison.labels import Labels, label_of
from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.parquet import read_pairs, row_of, write_pairs
from stream_infer.comparison.reading import PairReader
from stream_infer.errors import ConfigError
from tests.kafka.comparisons import encode, records

COUNT = 300


@pytest.fixture
def reader(tmp_path):
    return PairReader(SchemaDirectory(tmp_path))


@pytest.fixture
def values():
    return [encode(record) for record in records(COUNT)]


def read(reader, values) -> Pairs:
    return reader.read(np.zeros(len(values), np.int32), np.arange(len(values)), values)


def test_columns_are_what_the_records_say(reader, values):
    made = list(records(COUNT))
    pairs = read(reader, values)

    assert pairs.event_id.tolist() == [record["event_id"] for record in made]
    assert [pairs.entity[code] for code in pairs.entity_code] == [record["entity"] for record in made]
    assert [pairs.versions[code] for code in pairs.versions_code] == [
        Versions("shadow", record["primary"]["model_version"], "s1") for record in made
    ]
    for side in ("primary", "shadow"):
        for name in ("score", "threshold"):
            told = [np.nan if record[side][name] is None else record[side][name] for record in made]
            np.testing.assert_array_equal(getattr(pairs, f"{side}_{name}"), told)
        told = [-1 if record[side]["is_anomaly"] is None else record[side]["is_anomaly"] for record in made]
        assert getattr(pairs, f"{side}_anomaly").tolist() == told
        assert getattr(pairs, f"{side}_error").tolist() == [record[side]["error"] or "" for record in made]
    assert pairs.names == {"p1": "smd", "p2": "smd", "s1": "candidate"}
    assert set(pairs.primary_latency_ms.tolist()) == {20.0}
    assert pairs.contributions(5) == ([("cpu_r", 0.5), ("load_1", 0.25)],) * 2
    assert 0 < (~pairs.both).sum() < COUNT / 10


def test_what_is_no_comparison_is_counted_and_left_out(reader, values):
    frame = b"\0" + schemas.IDS["comparison"].to_bytes(4, "big")
    broken = [b"", b"\0", frame, frame + b"\xff" * 30, values[0][:40], b"\0\0\0\0\7" + values[0][5:]]

    pairs = read(reader, [*broken, values[3], *broken])

    assert pairs.event_id.tolist() == ["e-3"]
    assert pairs.offset.tolist() == [len(broken)]
    assert reader.unreadable == 2 * len(broken)


def test_a_record_without_an_entity_is_a_comparison(reader):
    record = next(records(1)) | {"entity": ""}
    record["primary"] |= {"model_version": ""}

    pairs = read(reader, [encode(record)])

    assert pairs.entity == ("",)
    assert pairs.versions == (Versions("shadow", "", "s1"),)


def test_a_parquet_file_holds_all_of_it(reader, values, tmp_path):
    file = tmp_path / "deep" / "pairs.parquet"

    count = write_pairs(
        file, (row_of(0, offset, reader.record(value)) for offset, value in enumerate(values))
    )
    (again,) = read_pairs(file)

    pairs = read(reader, values)
    assert count == COUNT == len(again)
    for field in fields(Pairs):
        one, other = getattr(pairs, field.name), getattr(again, field.name)
        if field.name == "contributions":
            assert [one(row) for row in range(COUNT)] == [other(row) for row in range(COUNT)]
        else:
            np.testing.assert_array_equal(one, other, err_msg=field.name)


def test_another_parquet_file_is_refused_with_the_cure(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"has no partition, offset.*comparison export"):
        list(read_pairs(tmp_path / "x.parquet"))


@pytest.mark.parametrize("by", ["event", "moment"])
def test_labels_find_their_events(reader, values, tmp_path, by):
    pairs = read(reader, values)
    labels, told = Labels(), {3: 1, 5: 0, 9: None}
    rows = list(told)
    columns: dict = {"label": pa.array(list(told.values()), pa.int8())}
    if by == "event":
        columns["event_id"] = [f"e-{row}" for row in rows]
    else:
        columns["entity_id"] = [pairs.entity[pairs.entity_code[row]] for row in rows]
        columns["ts"] = pa.array([datetime.fromtimestamp(pairs.time_ms[row] / 1000, UTC) for row in rows])
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")

    labels.read(tmp_path / "labels.parquet")
    labels.apply(pairs)

    assert {row: int(pairs.label[row]) for row in rows} == {3: 1, 5: 0, 9: -1}
    assert (np.delete(pairs.label, rows) == -1).all()
    for record in (
        {"event_id": "e-9", "label": 1},
        {"entity_id": pairs.entity[0], "ts": int(pairs.time_ms[0]), "label": 0},
    ):
        label = label_of(record)
        assert label is not None
        labels.put(label)
    assert label_of({"event_id": "e-9"}) is None
    assert label_of({"label": 1}) is None
    labels.apply(pairs)
    assert (pairs.label[9], pairs.label[0]) == (1, 0)


def test_a_labels_file_that_is_none_is_refused(tmp_path):
    pq.write_table(pa.table({"event_id": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"compare.labels: .*event_id, or entity_id and ts, and label"):
        Labels().read(tmp_path / "x.parquet")
