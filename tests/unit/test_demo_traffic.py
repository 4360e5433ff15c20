"""Which events the demo plays, and how they break."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from stream_infer.avro import schemas
from stream_infer.data import sample_path
from stream_infer.demo.breakage import KINDS, broken
from stream_infer.demo.traffic import Traffic, event_schema, feature_paths, row_of
from stream_infer.errors import ConfigError
from stream_infer.models.dataset import Dataset, read_dataset


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return read_dataset(sample_path())


def small(names: tuple[str, ...] = ("a", "b"), dtype: type = np.float32) -> Dataset:
    """Two entities whose rows alternate in time, no splits, no labels."""
    return Dataset(
        ("x", "y"),
        names,
        np.array([0, 0, 0, 1, 1, 1], np.int32),
        np.array([0, 1, 2, 0, 1, 2], np.int64),
        np.array([10, 30, 50, 20, 40, 60], np.int64),
        np.arange(12, dtype=dtype).reshape(6, 2),
    )


def test_good_events_are_the_first_test_rows_in_time_order(sample: Dataset) -> None:
    traffic = Traffic.plan(sample, 4000, 0.01)
    assert len(traffic) == 4000
    assert traffic.broken.sum() == 40
    good = traffic.row[~traffic.broken]
    assert len(np.unique(good)) == len(good)
    times = sample.time_ms[good]
    assert (np.diff(times) >= 0).all()
    test_rows = sample.rows_of("test")
    assert set(good.tolist()) <= set(test_rows.tolist())
    assert times[-1] <= np.sort(sample.time_ms[test_rows])[len(good)]
    assert set(sample.entity[good[:100]].tolist()) == {0, 1, 2}, "the machines take turns"


def test_a_broken_event_stands_before_the_good_event_of_its_row(sample: Dataset) -> None:
    traffic = Traffic.plan(sample, 1000, 0.05)
    for index in np.flatnonzero(traffic.broken):
        following = traffic.row[index:][~traffic.broken[index:]]
        assert following[0] == traffic.row[index]


def test_the_plan_is_the_same_in_every_process(sample: Dataset) -> None:
    one, other = Traffic.plan(sample, 500, 0.1), Traffic.plan(sample, 500, 0.1)
    assert (one.row == other.row).all()
    assert (one.broken == other.broken).all()


def test_there_are_never_more_events_than_rows(sample: Dataset) -> None:
    rows = len(sample.rows_of("test"))
    traffic = Traffic.plan(sample, 10**7, 0.005)
    assert (~traffic.broken).sum() == rows
    assert traffic.broken.sum() == round(rows * 0.005)


def test_without_splits_all_rows_are_played() -> None:
    traffic = Traffic.plan(small(), 100, 0.0)
    assert traffic.row.tolist() == [0, 3, 1, 4, 2, 5]


def test_an_event_knows_its_row() -> None:
    traffic = Traffic.plan(small(), 100, 0.0)
    datum = traffic.datum(3)
    assert datum == {"event_id": "y:4", "entity_id": "y", "ts": 40, "metrics": {"a": 8.0, "b": 9.0}}
    assert row_of(datum["event_id"]) == 4


def test_the_packaged_schema_is_that_of_the_sample(sample: Dataset) -> None:
    assert json.loads(event_schema(sample)) == json.loads(schemas.text("server_metrics"))
    assert feature_paths(sample)[0] == "metrics.cpu_r"


def test_the_schema_follows_the_data() -> None:
    schema = json.loads(event_schema(small(dtype=np.float64)))
    metrics = next(field["type"] for field in schema["fields"] if field["name"] == "metrics")
    assert metrics["fields"] == [{"name": "a", "type": "double"}, {"name": "b", "type": "double"}]


def test_a_column_avro_cannot_name_is_named_in_the_error() -> None:
    with pytest.raises(ConfigError, match="'cpu load'"):
        event_schema(small(("cpu load", "b")))


def test_each_kind_of_breakage_differs_from_the_event() -> None:
    datum = Traffic.plan(small(), 10, 0.0).datum(0)
    seen: list[dict[str, object]] = []

    def serialise(given: dict[str, object]) -> bytes:
        seen.append(given)
        return b"\0\0\0\0\7" + repr(given).encode()

    good = serialise(datum)
    payloads = [broken(number, datum, serialise) for number in range(len(KINDS))]
    assert good not in payloads
    assert len(set(payloads)) == len(KINDS)
    assert None in payloads
    assert any(given["entity_id"] == "" for given in seen)
    assert any(math.isinf(given["metrics"]["a"]) for given in seen)  # type: ignore[index]
    assert datum["metrics"]["a"] == 0.0, "the event itself stays whole"
    assert broken(len(KINDS), datum, serialise) == payloads[0], "the kinds take turns"
