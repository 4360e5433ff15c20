"""Rows of a file: columns found by name, rows in order, errors that name the option."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_infer.errors import ConfigError
from stream_infer.models.dataset import ColumnNames, Dataset, read_dataset


def stored(tmp_path: Path, **columns: object) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_usual_names_are_found(tmp_path: Path) -> None:
    time = pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2, pa.timestamp("us", "UTC"))
    path = stored(
        tmp_path,
        machine=["b", "a"],
        ts=time,
        split=["train", "test"],
        label=pa.array([None, 1], pa.int8()),
        load=pa.array([0.5, None], pa.float32()),
        note=["not", "numeric"],
        up=[True, False],
    )

    data = read_dataset(path)

    assert (data.entities, data.feature_names, data.splits) == (("b", "a"), ("load", "up"), ("train", "test"))
    assert data.time_ms.tolist() == [1704067200000] * 2
    assert data.label is not None
    assert data.label.tolist() == [-1, 1]
    np.testing.assert_array_equal(data.features, [[0.5, 1], [np.nan, 0]])
    assert data.rows_of("test").tolist() == [1]
    assert data.rows_of(None).tolist() == [0, 1]


def test_named_columns_win(tmp_path: Path) -> None:
    path = stored(tmp_path, entity=[1, 2], host=[9, 8], epoch=[5, 6], a=[1.0, 2.0], b=[3.0, 4.0])

    data = read_dataset(path, ColumnNames(entity="host", time="epoch", features=("b", "a")))

    assert data.entities == ("9", "8")
    assert data.time_ms.tolist() == [5, 6]
    np.testing.assert_array_equal(data.features, [[3, 1], [4, 2]])


def test_rows_are_sorted_by_entity_and_time(tmp_path: Path) -> None:
    path = stored(tmp_path, host=["x", "y", "x", "y", "x"], ts=[3, 1, 1, 0, 2], v=[0.0, 1.0, 2.0, 3.0, 4.0])

    data = read_dataset(path)

    assert data.entity.tolist() == [0, 0, 0, 1, 1]
    assert data.features[:, 0].tolist() == [2, 4, 0, 3, 1]
    assert data.seq.tolist() == [1, 2, 0, 1, 0]  # counted in the file's order


def test_float32_stays_and_wider_types_widen(tmp_path: Path) -> None:
    narrow = read_dataset(stored(tmp_path, host=["x"], v=pa.array([1.5], pa.float32())))
    wide = read_dataset(stored(tmp_path, host=["x"], v=pa.array([1.5], pa.float32()), w=[2**40 + 1]))

    assert narrow.features.dtype == np.float32
    assert wide.features.dtype == np.float64
    assert wide.features[0, 1] == 2**40 + 1


def test_columns_are_those_of_the_decode_stage(tmp_path: Path) -> None:
    data = read_dataset(stored(tmp_path, host=["ä", "b", "ä"], ts=[1, 2, 3], v=[1.0, 2.0, 3.0]))

    columns = data.columns(np.array([1, 2]))

    assert [columns.entity[row] for row in range(2)] == ["ä".encode(), b"b"]
    assert columns.time_ms.tolist() == [3, 2]
    assert columns.features.dtype == np.float64


def test_the_fingerprint_sees_every_value(tmp_path: Path) -> None:
    def fingerprint(values: list[float], name: str = "v") -> str:
        data: Dataset = read_dataset(stored(tmp_path, host=["x", "x"], **{name: values}))
        return data.fingerprint(data.rows_of(None))

    assert fingerprint([1.0, 2.0]) == fingerprint([1.0, 2.0])
    assert len({fingerprint([1.0, 2.0]), fingerprint([1.0, 3.0]), fingerprint([1.0, 2.0], "w")}) == 3


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        ({"v": [1.0]}, ColumnNames(), "no entity column found among v; name it with --entity-column"),
        ({"host": ["x"]}, ColumnNames(), "--features"),
        (
            {"host": ["x"], "v": [1.0]},
            ColumnNames(time="when"),
            "--time-column when: no such column; there are host, v",
        ),
        ({"host": ["x"], "v": [1.0]}, ColumnNames(features=("w",)), "--features w: no such column"),
        (
            {"host": ["x"], "v": ["one"]},
            ColumnNames(features=("v",)),
            "--features v: string cannot be read as numbers",
        ),
        ({"host": ["x", None], "v": [1.0, 2.0]}, ColumnNames(), "--entity-column host: 1 rows have none"),
        ({"host": ["x"], "ts": ["noon"], "v": [1.0]}, ColumnNames(), "--time-column"),
    ],
)
def test_errors_name_the_option(
    tmp_path: Path, columns: dict[str, list], names: ColumnNames, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        read_dataset(stored(tmp_path, **columns), names)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a,b")

    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        read_dataset(tmp_path / "x")
    with pytest.raises(ConfigError, match="--data"):
        read_dataset(tmp_path / "missing")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    data = read_dataset(stored(tmp_path, host=["x"], split=["train"], v=[1.0]))

    with pytest.raises(ConfigError, match="--split test: the data has train"):
        data.rows_of("test")


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = stored(
        tmp_path, host=pa.array([], pa.string()), ts=pa.array([], pa.int64()), v=pa.array([], pa.float64())
    )

    data = read_dataset(path)

    assert (len(data), data.entities, data.features.shape) == (0, (), (0, 1))


@pytest.mark.parametrize("label", [pa.array([True, False, None]), pa.array([1.0, 0.0, None])])
def test_labels_of_other_types(tmp_path: Path, label: pa.Array) -> None:
    data = read_dataset(stored(tmp_path, host=["x"] * 3, v=[1.0] * 3, anomaly=label))

    assert data.label is not None
    assert data.label.tolist() == [1, 0, -1]
