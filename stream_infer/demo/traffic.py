"""Which rows of the data become events, in which order, and which of them are broken on purpose."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro import schemas
from stream_infer.errors import ConfigError
from stream_infer.models.dataset import Dataset

__all__ = ["TEST_SPLIT", "Traffic", "event_schema", "feature_paths", "row_of"]

TEST_SPLIT = "test"
_SEED = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Traffic:
    """The events in the order in which they are published.

    ``row`` (int64, n) is the row of ``data`` each event is made of; ``broken`` (bool, n) marks those that are damaged
    copies of it: the row itself is published, too, so that detection is measured on a complete series.
    """

    data: Dataset
    row: NDArray[np.int64]
    broken: NDArray[np.bool_]

    @classmethod
    def plan(cls, data: Dataset, events_count: int, broken_share: float) -> Self:
        """Take the first rows of the test split (of all rows where there is none) in time order over all entities.

        The same arguments give the same traffic, so that the producer and its audience plan it apart.
        """
        rows = data.rows_of(TEST_SPLIT if TEST_SPLIT in data.splits else None)
        in_time_order = rows[np.argsort(data.time_ms[rows], kind="stable")]
        broken_count = round(events_count * broken_share)
        good = in_time_order[: events_count - broken_count]
        if len(good) < events_count - broken_count:
            broken_count = round(len(good) * broken_share)
        at = np.sort(np.random.default_rng(_SEED).integers(0, max(1, len(good)), broken_count))
        if not len(good):
            at = at[:0]
        return cls(
            data, np.insert(good, at, good[at]), np.insert(np.zeros(len(good), np.bool_), at, np.True_)
        )

    def __len__(self) -> int:
        return len(self.row)

    def datum(self, index: int) -> dict[str, Any]:
        """Return event ``index`` as plain values of the event schema."""
        row, data = int(self.row[index]), self.data
        entity = data.entities[data.entity[row]]
        return {
            "event_id": f"{entity}:{row}",
            "entity_id": entity,
            "ts": int(data.time_ms[row]),
            "metrics": dict(zip(data.feature_names, data.features[row].tolist(), strict=True)),
        }


def row_of(event_id: str) -> int:
    """Return the row of the data that the event of this id was made of."""
    return int(event_id.rpartition(":")[2])


def event_schema(data: Dataset) -> str:
    """Return the Avro schema of the events: schemas/server_metrics.avsc with the features of the data.

    Raises ConfigError for a feature whose name Avro does not allow.
    """
    schema = json.loads(schemas.text("server_metrics"))
    for name in data.feature_names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"--data: column {name!r} is no field name in Avro (letters, digits and _); rename it"
            )
    kind = "float" if data.features.dtype == np.float32 else "double"
    metrics = next(field for field in schema["fields"] if field["name"] == "metrics")
    metrics["type"]["fields"] = [{"name": name, "type": kind} for name in data.feature_names]
    return json.dumps(schema)


def feature_paths(data: Dataset) -> list[str]:
    """Return the paths of the features in an event, for the worker's settings."""
    return [f"metrics.{name}" for name in data.feature_names]
