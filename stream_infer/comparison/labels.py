"""What people say of events: joined to pairs by the event's id, or by entity and time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from stream_infer.comparison.pairs import Pairs
from stream_infer.errors import ConfigError

__all__ = ["Labels"]

_MILLISECONDS: Final = 1000


class Labels:
    """Labels by event id and by (entity, epoch ms): 1 = anomaly, 0 = none, below 0 = nobody said; the last counts."""

    def __init__(self) -> None:
        self._by_event: dict[str, int] = {}
        self._by_moment: dict[tuple[str, int], int] = {}

    def __len__(self) -> int:
        return len(self._by_event) + len(self._by_moment)

    def read(self, path: Path) -> None:
        """Add those of a Parquet file: ``event_id``, or ``entity_id`` and ``ts``, and ``label``. Raises ConfigError."""
        import pyarrow as pa  # noqa: PLC0415 (slow, and part of an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            names = pq.read_schema(path).names
            keys = ["event_id"] if "event_id" in names else ["entity_id", "ts"]
            table = pq.read_table(path, columns=[*keys, "label"])
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(
                f"compare.labels: {path} cannot be read: {str(error).splitlines()[0]}. "
                "It needs event_id, or entity_id and ts, and label"
            ) from None
        label = table["label"].fill_null(-1).to_pylist()
        if keys == ["event_id"]:
            self._by_event |= dict(zip(table["event_id"].cast(pa.string()).to_pylist(), label, strict=True))
            return
        times = table["ts"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_pylist()
        entities = table["entity_id"].cast(pa.string()).to_pylist()
        self._by_moment |= dict(zip(zip(entities, times, strict=True), label, strict=True))

    def add(self, record: Mapping[str, Any]) -> bool:
        """Add one, of the same fields; False where it is none."""
        label = record.get("label")
        if not isinstance(label, int):
            return False
        event, entity, time = record.get("event_id"), record.get("entity_id"), record.get("ts")
        if isinstance(event, str):
            self._by_event[event] = int(label)
            return True
        time_ms = round(time.timestamp() * _MILLISECONDS) if isinstance(time, datetime) else time
        if isinstance(entity, str) and isinstance(time_ms, int):
            self._by_moment[entity, time_ms] = int(label)
            return True
        return False

    def apply(self, pairs: Pairs) -> Pairs:
        """Write the labels that are known into pairs; returns them."""
        if self._by_event:
            found = [self._by_event.get(event, -1) for event in pairs.event_id.tolist()]
            _put(pairs, found)
        if self._by_moment:
            moments = zip(pairs.entity_code.tolist(), pairs.time_ms.tolist(), strict=True)
            _put(pairs, [self._by_moment.get((pairs.entity[code], at), -1) for code, at in moments])
        return pairs


def _put(pairs: Pairs, found: list[int]) -> None:
    labels = np.sign(np.array(found, np.int64)).astype(np.int8)
    known = labels >= 0
    pairs.label[known] = labels[known]
