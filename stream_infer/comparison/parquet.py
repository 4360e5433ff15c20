"""Comparisons in a Parquet file, one row each: for notebooks and DuckDB, and to be read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_infer.comparison.pairs import Contributions, Pairs, Versions
from stream_infer.comparison.reading import latency
from stream_infer.errors import ConfigError

__all__ = ["read_pairs", "row_of", "write_pairs"]

_GROUP_ROWS: Final = 50_000
_FEATURES: Final = pa.list_(pa.struct([("feature", pa.string()), ("share", pa.float32())]))
_SIDE: Final = (
    ("model_name", pa.string()),
    ("model_version", pa.string()),
    ("score", pa.float64()),
    ("threshold", pa.float64()),
    ("is_anomaly", pa.bool_()),
    ("window_full", pa.bool_()),
    ("error", pa.string()),
    ("reason", pa.string()),
    ("contributions", _FEATURES),
    ("published_at", pa.timestamp("ms", "UTC")),
)
_SCHEMA: Final = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("event_id", pa.string()),
        ("entity", pa.string()),
        ("time", pa.timestamp("ms", "UTC")),
        ("input_time", pa.timestamp("ms", "UTC")),
        ("source_topic", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
        ("shadow_id", pa.string()),
        *((f"{side}_{name}", kind) for side in ("primary", "shadow") for name, kind in _SIDE),
        ("delta", pa.float64()),
        ("agreement", pa.bool_()),
    ]
)


def row_of(partition: int, offset: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """One row: where a comparison lies in its topic, and what it says, the two sides flat."""
    row: dict[str, Any] = {"partition": partition, "offset": offset}
    for name, value in record.items():
        if name in {"primary", "shadow"}:
            row |= {f"{name}_{field}": inner for field, inner in value.items()}
        else:
            row[name] = value
    row["input_time"] = row["input_time"] if _positive(row["input_time"]) else None
    return row


def write_pairs(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows of ``row_of``; returns how many. Raises ConfigError where the file cannot be written."""
    count, group = 0, []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
            for row in rows:
                group.append(row)
                if len(group) == _GROUP_ROWS:
                    writer.write_table(pa.Table.from_pylist(group, _SCHEMA))
                    count, group = count + len(group), []
            writer.write_table(pa.Table.from_pylist(group, _SCHEMA))
    except OSError as error:
        raise ConfigError(f"--to {path}: cannot be written: {error.strerror}") from None
    return count + len(group)


def read_pairs(path: Path) -> Iterator[Pairs]:
    """Yield the pairs of a file, a row group at a time. Raises ConfigError where it is no such file."""
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in _SCHEMA.names if name not in file.schema_arrow.names]
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"--parquet {path}: cannot be read: {error}") from None
    if missing:
        raise ConfigError(
            f"--parquet {path} has no {', '.join(missing[:5])}: write it by `stream-infer comparison export`"
        )
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        if table.num_rows:
            yield _pairs(table)


def _pairs(table: pa.Table) -> Pairs:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    entity, entity_code = _coded(columns["entity"])
    versions, versions_code = _versions(columns)
    input_ms = _times(columns["input_time"])
    values: dict[str, Any] = {}
    for side in ("primary", "shadow"):
        anomaly = columns[f"{side}_is_anomaly"].cast(pa.int8()).fill_null(-1)
        values |= {
            f"{side}_score": _floats(columns[f"{side}_score"]),
            f"{side}_threshold": _floats(columns[f"{side}_threshold"]),
            f"{side}_anomaly": anomaly.to_numpy(zero_copy_only=False).copy(),
            f"{side}_latency_ms": latency(_times(columns[f"{side}_published_at"]), input_ms),
            f"{side}_error": _objects(columns[f"{side}_error"].fill_null("")),
        }
    return Pairs(
        partition=columns["partition"].to_numpy().astype(np.int32),
        offset=columns["offset"].to_numpy().astype(np.int64),
        event_id=_objects(columns["event_id"]),
        time_ms=columns["time"].cast(pa.int64()).to_numpy().astype(np.int64),
        entity=entity,
        entity_code=entity_code,
        versions=versions,
        versions_code=versions_code,
        label=np.full(table.num_rows, -1, np.int8),
        names=_names(columns, values),
        contributions=_look_up(columns),
        **values,
    )


def _look_up(columns: Mapping[str, Any]) -> Callable[[int], Contributions]:
    def contributions(row: int) -> Contributions:
        sides = [columns[f"{side}_contributions"][row].as_py() or [] for side in ("primary", "shadow")]
        found = [[(one["feature"], one["share"]) for one in side] for side in sides]
        return found[0], found[1]

    return contributions


def _names(columns: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, str]:
    both = pa.array(np.isfinite(values["primary_score"]) & np.isfinite(values["shadow_score"]))
    found: dict[str, str] = {}
    for side in ("primary", "shadow"):
        texts = [columns[f"{side}_model_{part}"].filter(both) for part in ("version", "name")]
        distinct = pa.table(texts, ["version", "name"]).group_by(["version", "name"]).aggregate([])
        found |= {row["version"]: row["name"] for row in distinct.to_pylist()}
    return found


def _versions(columns: Mapping[str, Any]) -> tuple[tuple[Versions, ...], NDArray[np.int64]]:
    parts = [_coded(columns[name]) for name in ("shadow_id", "primary_model_version", "shadow_model_version")]
    place: dict[tuple[int, ...], int] = {}
    rows = zip(*(codes.tolist() for _, codes in parts), strict=True)
    codes = np.array([place.setdefault(row, len(place)) for row in rows], np.int64)
    names = [Versions(*(table[code] for (table, _), code in zip(parts, row, strict=True))) for row in place]
    return tuple(names), codes


def _coded(column: Any) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    encoded = pc.dictionary_encode(column)
    return tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int64)


def _floats(column: Any) -> NDArray[np.float64]:
    return np.array(column.to_numpy(zero_copy_only=False), np.float64)  # null becomes NaN


def _times(column: Any) -> NDArray[np.float64]:
    return _floats(column.cast(pa.int64()).cast(pa.float64()).fill_null(-1.0))


def _objects(column: Any) -> NDArray[np.object_]:
    return np.array(column.to_pylist(), object)


def _positive(time: Any) -> bool:
    return not isinstance(time, int) and time.timestamp() >= 0
