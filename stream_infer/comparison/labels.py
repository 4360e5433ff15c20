"""What people say of events: joined to pairs by the event's id, or by entity and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.pairs import Pairs
from stream_infer.errors import ConfigError

__all__ = ["UNKNOWN", "Key", "Label", "Labels", "label_of"]

_MILLISECONDS: Final = 1000
_MOST: Final = 1_000_000

UNKNOWN: Final = -1
"""Nobody said."""

Key = str | tuple[str, int]
"""An event's id, or entity and epoch ms."""


class Label(NamedTuple):
    """One label: 1 = anomaly, 0 = none, UNKNOWN takes an earlier one back."""

    key: Key
    value: int


class Labels:
    """Labels of a file and of a topic, by event. The topic's go before the file's, of its own the last counts.

    Of each at most ``most`` events are kept; labels of others are ``refused_count``.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.refused_count = 0
        self._most = most
        self._of_file: dict[Key, int] = {}
        self._of_topic: dict[Key, int] = {}
        self._kinds: set[type] = set()

    def __len__(self) -> int:
        return len(self._of_file) + len(self._of_topic)

    def read(self, path: Path) -> dict[Key, int]:
        """Take those of a Parquet file in the place of what it said before; returns what changed, as it was before.

        It has ``event_id``, or ``entity_id`` and ``ts``, and ``label``. Raises ConfigError.
        """
        fresh = _of_parquet(path)
        if len(fresh) > self._most:
            raise ConfigError(
                f"compare.labels: {path} has {len(fresh):,} labels, more than compare.labels_kept = {self._most:,}. "
                "Cure: raise it (200 bytes of memory each)"
            )
        known, self._of_file = self._of_file, fresh
        self._kinds |= set(map(type, fresh))
        either = [key for key in known.keys() | fresh.keys() if key not in self._of_topic]
        changed = [key for key in either if known.get(key, UNKNOWN) != fresh.get(key, UNKNOWN)]
        return {key: known.get(key, UNKNOWN) for key in changed}

    def put(self, label: Label) -> dict[Key, int]:
        """Take one of the topic; returns what changed, as it was before."""
        before = self.value(label.key)
        if label.key not in self._of_topic and len(self._of_topic) >= self._most:
            self.refused_count += 1
            return {}
        self._of_topic[label.key] = label.value
        self._kinds.add(type(label.key))
        return {label.key: before} if before != label.value else {}

    def value(self, key: Key) -> int:
        """What is known of an event."""
        found = self._of_topic.get(key)
        return self._of_file.get(key, UNKNOWN) if found is None else found

    def of_event(self, event_id: str, entity: str, time_ms: int) -> int:
        """What is known of an event by either of its names."""
        by_moment = self.value((entity, time_ms))
        return self.value(event_id) if by_moment == UNKNOWN else by_moment

    def apply(self, pairs: Pairs) -> Pairs:
        """Write the labels that are known into pairs; returns them."""
        if self._kinds:
            pairs.label[:] = self.before(pairs, {})
        return pairs

    def before(self, pairs: Pairs, changes: Mapping[Key, int]) -> NDArray[np.int8]:
        """The labels (n) of pairs as they were before these changes."""
        found = np.full(len(pairs), UNKNOWN, np.int8)
        if str in self._kinds:
            found = self._values(pairs.event_id.tolist(), changes)
        if tuple in self._kinds:
            moments = zip(pairs.entity_code.tolist(), pairs.time_ms.tolist(), strict=True)
            of_moment = self._values([(pairs.entity[code], at) for code, at in moments], changes)
            found = np.where(of_moment == UNKNOWN, found, of_moment)
        return found

    def _values(self, keys: Sequence[Key], changes: Mapping[Key, int]) -> NDArray[np.int8]:
        file, topic = self._of_file, self._of_topic
        values = [topic[key] if key in topic else file.get(key, UNKNOWN) for key in keys]
        if changes:
            values = [changes.get(key, value) for key, value in zip(keys, values, strict=True)]
        return np.array(values, np.int8)


def label_of(record: Mapping[str, Any]) -> Label | None:
    """Read a record with ``event_id``, or ``entity_id`` and ``ts``, and ``label``; None where it is no such record."""
    value = record.get("label")
    if not isinstance(value, int):
        return None
    event, entity, time = record.get("event_id"), record.get("entity_id"), record.get("ts")
    if isinstance(event, str):
        return Label(event, _sign(value))
    time_ms = round(time.timestamp() * _MILLISECONDS) if isinstance(time, datetime) else time
    if isinstance(entity, str) and isinstance(time_ms, int):
        return Label((entity, time_ms), _sign(value))
    return None


def _of_parquet(path: Path) -> dict[Key, int]:
    import pyarrow as pa  # noqa: PLC0415 (slow, and part of an extra)
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        names = pq.read_schema(path).names
        wanted = ["event_id"] if "event_id" in names else ["entity_id", "ts"]
        table = pq.read_table(path, columns=[*wanted, "label"])
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"compare.labels: {path} cannot be read: {str(error).splitlines()[0]}. "
            "It needs event_id, or entity_id and ts, and label"
        ) from None
    known = table["label"].fill_null(UNKNOWN).to_pylist()
    keys: list[Key] = table[wanted[0]].cast(pa.string()).to_pylist()
    if wanted != ["event_id"]:
        times = table["ts"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_pylist()
        keys = list(zip(keys, times, strict=True))  # type: ignore[arg-type]
    return {key: _sign(int(value)) for key, value in zip(keys, known, strict=True) if value >= 0}


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
