"""Rows of a Parquet file, in columns: entity, sequence, time, split, label and the features. Needs pyarrow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.records import Columns, Text

__all__ = ["ColumnNames", "Dataset", "read_dataset"]

_KNOWN = {
    "entity": ("entity_id", "entity", "series_id", "series", "machine", "host", "device", "sensor", "key"),
    "seq": ("seq", "sequence", "row", "step"),
    "time": ("ts", "time", "timestamp", "event_time", "datetime", "date"),
    "split": ("split", "fold", "subset"),
    "label": ("label", "is_anomaly", "anomaly"),
}


@dataclass(frozen=True)
class ColumnNames:
    """Columns of the file; None = found by its usual name. ``features`` empty = all other numeric columns."""

    entity: str | None = None
    seq: str | None = None
    time: str | None = None
    split: str | None = None
    label: str | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Rows sorted by entity (in order of appearance), then time, then sequence.

    ``entity`` (int32, n) indexes ``entities``, ``split`` (int32, n) indexes ``splits`` (empty: the file has none).
    ``time_ms`` is epoch milliseconds. ``label`` (int8) is 1 for an anomaly, 0 for none, -1 where nobody said;
    None without such a column. ``features`` (n, F) has the file's own float type, NaN for a null.
    """

    entities: tuple[str, ...]
    feature_names: tuple[str, ...]
    entity: NDArray[np.int32]
    seq: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    features: NDArray[np.floating]
    splits: tuple[str, ...] = ()
    split: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    label: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.entity)

    def rows_of(self, split: str | None) -> NDArray[np.int64]:
        """Row numbers of one split, or of all rows. Raises ConfigError for a split that is not there."""
        if split is None:
            return np.arange(len(self))
        if split not in self.splits:
            there = ", ".join(self.splits) or "no split column"
            raise ConfigError(f"--split {split}: the data has {there}")
        return np.flatnonzero(self.split == self.splits.index(split))

    def columns(self, rows: NDArray[np.int64]) -> Columns:
        """Return these rows as the decode stage would hand them over."""
        names = Text.of([name.encode() for name in self.entities])
        return Columns(
            rows=np.arange(len(rows), dtype=np.int64),
            entity=names.take(self.entity[rows]),
            event_id=None,
            time_ms=self.time_ms[rows],
            features=self.features[rows].astype(np.float64),
        )

    def fingerprint(self, rows: NDArray[np.int64]) -> str:
        """SHA-256 of names, keys and values of these rows."""
        digest = hashlib.sha256()
        for names in (self.entities, self.feature_names):
            digest.update("\0".join(names).encode() + b"\1")
        for column in (self.entity, self.seq, self.time_ms):
            digest.update(np.ascontiguousarray(column[rows]).tobytes())
        digest.update(np.ascontiguousarray(self.features[rows]).tobytes())
        return digest.hexdigest()


def read_dataset(path: Path | str, names: ColumnNames = ColumnNames()) -> Dataset:
    """Read a Parquet file. Columns that are not named are found by their usual names.

    Raises ConfigError, naming the option to set, for a file that cannot be read or lacks a needed column.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"--data {path}: cannot be read as Parquet: {str(error).splitlines()[0]}"
        ) from error
    with file:
        found = _find_columns(file.schema_arrow, names)
        features = names.features or _numeric_columns(file.schema_arrow, set(found.values()))
        if not features:
            raise ConfigError(
                f"--data {path}: no numeric column is left for features; name them with --features"
            )
        table = file.read(columns=[*found.values(), *features])
    return _sorted(_to_dataset(table, found, tuple(features)))


def _find_columns(schema: pa.Schema, names: ColumnNames) -> dict[str, str]:
    """Role -> column, for the roles that the file has."""
    found = {}
    for role, usual in _KNOWN.items():
        named = getattr(names, role)
        if named is not None and named not in schema.names:
            raise ConfigError(f"--{role}-column {named}: no such column; there are {', '.join(schema.names)}")
        column = named or next((name for name in usual if name in schema.names), None)
        if column is not None:
            found[role] = column
    if "entity" not in found:
        raise ConfigError(
            f"no entity column found among {', '.join(schema.names)}; name it with --entity-column"
        )
    for feature in names.features:
        if feature not in schema.names:
            raise ConfigError(f"--features {feature}: no such column; there are {', '.join(schema.names)}")
    return found


def _numeric_columns(schema: pa.Schema, taken: set[str]) -> tuple[str, ...]:
    return tuple(
        column.name
        for column in schema
        if column.name not in taken
        and (
            pa.types.is_floating(column.type)
            or pa.types.is_integer(column.type)
            or pa.types.is_boolean(column.type)
        )
    )


def _to_dataset(table: pa.Table, found: dict[str, str], features: tuple[str, ...]) -> Dataset:
    entities, entity = _codes(table, found["entity"], "entity")
    splits, split = (
        _codes(table, found["split"], "split") if "split" in found else ((), np.zeros(0, np.int32))
    )
    count = len(table)
    return Dataset(
        entities=entities,
        feature_names=features,
        entity=entity,
        seq=_integers(table[found["seq"]], "seq") if "seq" in found else _counting(entity),
        time_ms=_times_ms(table[found["time"]]) if "time" in found else np.zeros(count, np.int64),
        features=_matrix(table, features),
        splits=splits,
        split=split,
        label=_integers(table[found["label"]], "label", -1).astype(np.int8) if "label" in found else None,
    )


def _codes(table: pa.Table, column: str, role: str) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Distinct texts in order of appearance, and which of them each row has."""
    values = table[column]
    if values.null_count:
        raise ConfigError(f"--{role}-column {column}: {values.null_count} rows have none")
    try:
        encoded = pc.dictionary_encode(values.cast(pa.string()).combine_chunks())
    except pa.ArrowException as error:
        raise ConfigError(f"--{role}-column {column}: {values.type} cannot be read as text") from error
    return tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int32)


def _counting(entity: NDArray[np.int32]) -> NDArray[np.int64]:
    """0, 1, 2, … for the rows of each entity, in file order."""
    order = np.argsort(entity, kind="stable")
    counts = np.bincount(entity)
    seq = np.empty(len(entity), np.int64)
    seq[order] = np.arange(len(entity)) - np.repeat(np.cumsum(counts) - counts, counts)
    return seq


def _integers(values: pa.ChunkedArray, role: str, null: int | None = None) -> NDArray[np.int64]:
    try:
        values = values.cast(pa.int64())
    except pa.ArrowException as error:
        raise ConfigError(f"--{role}-column: {values.type} cannot be read as whole numbers") from error
    if null is not None:
        values = values.fill_null(null)
    elif values.null_count:
        raise ConfigError(f"--{role}-column: {values.null_count} rows have none")
    return np.asarray(values.to_numpy(), np.int64)


def _times_ms(values: pa.ChunkedArray) -> NDArray[np.int64]:
    if pa.types.is_integer(values.type):
        return _integers(values, "time")
    try:
        values = values.cast(pa.timestamp("ms", getattr(values.type, "tz", None)), safe=False)
    except pa.ArrowException as error:
        raise ConfigError(
            f"--time-column: {values.type} is neither a timestamp nor epoch milliseconds"
        ) from error
    return _integers(values, "time")


def _matrix(table: pa.Table, features: tuple[str, ...]) -> NDArray[np.floating]:
    """float32 when every column fits it, else float64."""
    narrow = all(
        pa.types.is_floating(table[name].type) and table[name].type.bit_width <= 32 for name in features
    )
    dtype = pa.float32() if narrow else pa.float64()
    matrix = np.empty((len(table), len(features)), dtype.to_pandas_dtype())
    for column, name in enumerate(features):
        try:
            values = table[name].cast(pa.int8()) if pa.types.is_boolean(table[name].type) else table[name]
            matrix[:, column] = values.cast(dtype, safe=False).to_numpy(zero_copy_only=False)
        except pa.ArrowException as error:
            raise ConfigError(f"--features {name}: {table[name].type} cannot be read as numbers") from error
    return matrix


def _sorted(data: Dataset) -> Dataset:
    order = np.lexsort((data.seq, data.time_ms, data.entity))
    if (order == np.arange(len(order))).all():
        return data
    return Dataset(
        entities=data.entities,
        feature_names=data.feature_names,
        entity=data.entity[order],
        seq=data.seq[order],
        time_ms=data.time_ms[order],
        features=data.features[order],
        splits=data.splits,
        split=data.split[order] if data.splits else data.split,
        label=None if data.label is None else data.label[order],
    )
