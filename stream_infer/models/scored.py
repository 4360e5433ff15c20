"""Offline scores as rows and as a Parquet file. Needs pyarrow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.models.dataset import Dataset
from stream_infer.models.evaluate import ScoredRows
from stream_infer.models.offline import OfflineScores

__all__ = ["read_scored", "scored_rows", "write_scored"]

_NEEDED = ("entity", "seq", "time", "label", "score", "is_anomaly", "alert", "top")
_ALERTS = ("none", "begins", "continues", "ends")


def scored_rows(data: Dataset, scores: OfflineScores) -> ScoredRows:
    """Join scores with the keys and labels of their rows. Raises ConfigError where the data has no labels."""
    if data.label is None:
        raise ConfigError("the data has no label column; name it with --label-column")
    return ScoredRows(
        entities=data.entities,
        features=data.feature_names,
        entity=data.entity[scores.rows],
        seq=data.seq[scores.rows],
        time_ms=data.time_ms[scores.rows],
        label=data.label[scores.rows],
        score=scores.score,
        is_anomaly=scores.is_anomaly,
        alert=scores.alert,
        top=scores.top,
    )


def write_scored(path: Path | str, data: Dataset, scores: OfflineScores) -> None:
    """Write entity, seq, time, split, label (the last two where the data has them) and the scores.

    ``top`` and ``share`` are lists: the features with the largest shares of the score, the largest first. A rejected
    row has a null score. The file appears whole or not at all. Raises ConfigError when it cannot be written.
    """
    rows = scores.rows
    columns: dict[str, pa.Array] = {
        "entity": _dictionary(data.entity[rows], data.entities),
        "seq": pa.array(data.seq[rows]),
        "time": pa.array(data.time_ms[rows], pa.timestamp("ms", "UTC")),
    }
    if data.splits:
        columns["split"] = _dictionary(data.split[rows], data.splits)
    if data.label is not None:
        columns["label"] = pa.array(data.label[rows])
    columns["score"] = pa.array(scores.score, mask=np.isnan(scores.score))
    columns["threshold"] = pa.array(scores.threshold)
    columns["is_anomaly"] = pa.array(scores.is_anomaly)
    columns["alert"] = _dictionary(scores.alert.astype(np.int32), _ALERTS)
    named = scores.top >= 0
    ends = pa.array(np.r_[0, np.cumsum(named.sum(axis=1))].astype(np.int32))
    columns["top"] = pa.ListArray.from_arrays(ends, _dictionary(scores.top[named], data.feature_names))
    columns["share"] = pa.ListArray.from_arrays(ends, pa.array(scores.share[named]))
    _write_whole(Path(path), pa.table(columns))


def read_scored(path: Path | str) -> ScoredRows:
    """Read what ``write_scored`` wrote. Raises ConfigError for a file that is not of that kind."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"--scores {path}: cannot be read as Parquet: {str(error).splitlines()[0]}"
        ) from error
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise ConfigError(
            f"--scores {path}: has no column {missing[0]}; make the file with `stream-infer score` from labelled data"
        )
    entities, entity = _codes(table["entity"])
    lists = table["top"].combine_chunks()
    features, top_values = _codes(pa.chunked_array([lists.flatten()]))
    return ScoredRows(
        entities=entities,
        features=features,
        entity=entity,
        seq=table["seq"].to_numpy(),
        time_ms=table["time"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy(),
        label=table["label"].fill_null(-1).to_numpy().astype(np.int8),
        score=table["score"].cast(pa.float64()).to_numpy(),  # null becomes NaN
        is_anomaly=table["is_anomaly"].to_numpy(),
        alert=_alerts(table["alert"], str(path)),
        top=_padded(top_values, lists.value_lengths().fill_null(0).to_numpy()),
    )


def _dictionary(codes: NDArray[np.int32], names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))


def _codes(values: pa.ChunkedArray) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    encoded = pc.dictionary_encode(values.cast(pa.string()).combine_chunks())
    return tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int32)


def _alerts(values: pa.ChunkedArray, path: str) -> NDArray[np.uint8]:
    names, codes = _codes(values)
    if not set(names) <= set(_ALERTS):
        raise ConfigError(f"--scores {path}: alert must be one of {', '.join(_ALERTS)}")
    return np.array([_ALERTS.index(name) for name in names], np.uint8)[codes]


def _padded(values: NDArray[np.int32], lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """Lists end to end -> one row each, the missing places -1."""
    there = np.arange(lengths.max(initial=0)) < lengths[:, None]
    matrix = np.full(there.shape, -1, np.int32)
    matrix[there] = values
    return matrix


def _write_whole(path: Path, table: pa.Table) -> None:
    staged = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, staged = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        Path(staged).chmod(0o644)
        Path(staged).rename(path)
        staged = None
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}") from error
    finally:
        if staged is not None:
            Path(staged).unlink(missing_ok=True)
