"""Values of the comparison topic -> pairs, in columns from the start."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

import fastavro
import numpy as np
from numpy.typing import NDArray

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SchemaSource
from stream_infer.comparison.pairs import Contributions, Pairs, Versions
from stream_infer.records import Batch, Blobs, Columns, Text

__all__ = ["PairReader", "features_of", "latency"]

logger = logging.getLogger(__name__)

_FRAME_BYTES: Final = 5
_SIDE: Final = ("score", "threshold", "is_anomaly", "published_at")
_NUMBERS: Final = ("input_time", *(f"{side}.{field}" for side in ("primary", "shadow") for field in _SIDE))
_TEXTS: Final = ("entity", "event_id", "primary.model_version", "shadow.model_version")
_LONGEST: Final = 16 << 20


class PairReader:
    """Reads comparisons of one source of schemas. ``unreadable`` counts the records that were none, and are left out.

    The decoder of events does the work, once for each column of text; only records whose texts are wanted (errors,
    the features of the worst) are read one by one.
    """

    def __init__(self, schemas: SchemaSource) -> None:
        self.unreadable = 0
        self._framed = schemas.framed
        self._schemas = schemas
        self._writers: dict[int, Any] = {}
        self._decoders = [
            Decoder(schemas, Fields(_NUMBERS, len(_NUMBERS), carrier, "time", text, _LONGEST))
            if text == "entity"
            else Decoder(schemas, Fields(("delta",), 1, carrier, "time", text, _LONGEST))
            for carrier, text in (("shadow_id", text) for text in _TEXTS)
        ]

    def read(self, partition: NDArray[np.int32], offset: NDArray[np.int64], values: Sequence[bytes]) -> Pairs:
        """Decode records of the comparison topic, given by partition, offset and value."""
        batch = _batch(partition, offset, values)
        columns = [decoder.decode(batch).columns for decoder in self._decoders]
        rows = reduce(np.intersect1d, (column.rows for column in columns))
        columns = [column.take(np.isin(column.rows, rows)) for column in columns]
        if len(rows) < len(values):
            self.unreadable += len(values) - len(rows)
            logger.warning("comparison unreadable=%d of=%d", len(values) - len(rows), len(values))
        return self._pairs(batch, columns, values)

    def record(self, value: bytes) -> dict[str, Any]:
        """Decode one record whole."""
        schema_id = int.from_bytes(value[1:_FRAME_BYTES], "big") if self._framed else 0
        writer = self._writers.get(schema_id)
        if writer is None:
            text = self._schemas.get(schema_id).text
            writer = self._writers[schema_id] = fastavro.parse_schema(json.loads(text))
        body = io.BytesIO(value[_FRAME_BYTES:] if self._framed else value)
        found: Any = fastavro.schemaless_reader(body, writer, _READER)
        return dict(found)

    def _pairs(self, batch: Batch, columns: Sequence[Columns], values: Sequence[bytes]) -> Pairs:
        rows = columns[0].rows
        numbers = dict(zip(_NUMBERS, columns[0].features.T, strict=True))
        entity, entity_code = _coded(columns[0].event_id, len(rows))
        shadow_ids = _texts(columns[0].entity)
        sides = [_texts(column.event_id) for column in columns[2:]]
        versions, versions_code = _table(zip(shadow_ids, *sides, strict=True))
        pairs = Pairs(
            partition=batch.partition[rows],
            offset=batch.offset[rows],
            event_id=np.array(_texts(columns[1].event_id), object),
            time_ms=columns[0].time_ms,
            entity=entity,
            entity_code=entity_code,
            versions=tuple(Versions(*texts) for texts in versions),
            versions_code=versions_code,
            primary_score=numbers["primary.score"],
            primary_threshold=numbers["primary.threshold"],
            primary_anomaly=_flag(numbers["primary.is_anomaly"]),
            primary_latency_ms=latency(numbers["primary.published_at"], numbers["input_time"]),
            primary_error=np.full(len(rows), "", object),
            shadow_score=numbers["shadow.score"],
            shadow_threshold=numbers["shadow.threshold"],
            shadow_anomaly=_flag(numbers["shadow.is_anomaly"]),
            shadow_latency_ms=latency(numbers["shadow.published_at"], numbers["input_time"]),
            shadow_error=np.full(len(rows), "", object),
            label=np.full(len(rows), -1, np.int8),
            names={},
            contributions=self._look_up(values, rows),
        )
        for row in np.flatnonzero(~pairs.both).tolist():
            record = self.record(values[int(rows[row])])
            pairs.primary_error[row] = record["primary"]["error"] or ""
            pairs.shadow_error[row] = record["shadow"]["error"] or ""
        for row in np.unique(versions_code[pairs.both], return_index=True)[1].tolist():
            record = self.record(values[int(rows[np.flatnonzero(pairs.both)[row]])])
            for side in (record["primary"], record["shadow"]):
                pairs.names[side["model_version"]] = side["model_name"]
        return pairs

    def _look_up(self, values: Sequence[bytes], rows: NDArray[np.int64]) -> Callable[[int], Contributions]:
        def contributions(row: int) -> Contributions:
            record = self.record(values[int(rows[row])])
            return features_of(record["primary"]), features_of(record["shadow"])

        return contributions


_READER: Final = fastavro.parse_schema(json.loads(own_schemas.text("comparison")))


def features_of(side: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Features and shares of one side of a record."""
    return [(one["feature"], one["share"]) for one in side["contributions"]]


def latency(published_ms: NDArray[np.float64], input_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Milliseconds from the input record's timestamp to the result; NaN where either is unknown."""
    known = (published_ms > 0) & (input_ms >= 0)
    return np.where(known, published_ms - input_ms, np.nan)


def _batch(partition: NDArray[np.int32], offset: NDArray[np.int64], values: Sequence[bytes]) -> Batch:
    payloads, keys = Blobs.of(values), Blobs.of([b""] * len(values))
    no_time = np.full(len(values), -1, np.int64)
    return Batch(payloads.data, payloads.ends, payloads.null, partition, offset, no_time, keys)


def _flag(numbers: NDArray[np.float64]) -> NDArray[np.int8]:
    return np.where(np.isnan(numbers), -1, numbers).astype(np.int8)


def _texts(text: Text | None) -> list[str]:
    assert text is not None
    return [text[row].decode() for row in range(len(text))]


def _coded(text: Text | None, count: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    assert text is not None
    assert len(text) == count
    names, code = _table((one,) for one in _texts(text))
    return tuple(name for (name,) in names), code


def _table(values: Any) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.int64]]:
    """Distinct values in the order they come, and the number of each row's."""
    place: dict[tuple[str, ...], int] = {}
    codes = [place.setdefault(value, len(place)) for value in values]
    return tuple(place), np.array(codes, np.int64)
