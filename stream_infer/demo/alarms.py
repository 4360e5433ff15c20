"""Alarms: the alerts of the entities, held against the labels while they happen."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.demo.records import ScoredRecord
from stream_infer.models.dataset import Dataset
from stream_infer.models.vus import events

__all__ = ["Alarm", "Alarms"]

_NEWEST = 60


@dataclass
class Alarm:
    """One alert. The score, its threshold and the features are those of its strangest event.

    ``count`` is how many of its events are anomalies. ``label``: "hit" touches a labelled event, "false" touches none,
    "none" = nobody labelled these rows.
    """

    entity: str
    first_ms: int
    last_ms: int
    count: int
    score: float
    threshold: float
    features: tuple[tuple[str, float], ...]
    label: str
    is_open: bool = True


class Alarms:
    """Takes scored events in the order of each entity. ``newest`` begins with the alarm that began last."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._labelled_event = _labelled_events(data)
        self._open: dict[str, Alarm] = {}
        self._seen: set[int] = set()
        self._found: set[int] = set()
        self._all: list[Alarm] = []
        self.closed_false_count = 0

    @property
    def newest(self) -> list[Alarm]:
        """The latest alarms, the newest first."""
        return self._all[: -_NEWEST - 1 : -1]

    @property
    def alarm_count(self) -> int:
        """Alarms so far."""
        return len(self._all)

    def strongest(self, count: int) -> list[Alarm]:
        """Return the alarms that are farthest over their thresholds, the strongest first."""
        return heapq.nlargest(count, self._all, key=lambda alarm: alarm.score / alarm.threshold)

    @property
    def events_seen(self) -> int:
        """Labelled events that have begun."""
        return len(self._seen)

    @property
    def events_found(self) -> int:
        """Labelled events that an anomaly fell into."""
        return len(self._found)

    def add(self, record: ScoredRecord) -> None:
        """Take the next scored event of its entity."""
        labelled = int(self._labelled_event[record.row])
        if labelled >= 0:
            self._seen.add(labelled)
        if record.is_anomaly and labelled >= 0:
            self._found.add(labelled)
        if record.alert == "none":
            self._close(record.entity)
            return
        alarm = None if record.alert == "begins" else self._open.get(record.entity)
        if alarm is None:
            alarm = self._begin(record)
        alarm.last_ms = record.time_ms
        alarm.count += record.is_anomaly
        if labelled >= 0:
            alarm.label = "hit"
        if record.score > alarm.score:
            alarm.score, alarm.threshold, alarm.features = record.score, record.threshold, record.features
        if record.alert == "ends":
            self._close(record.entity)

    def _begin(self, record: ScoredRecord) -> Alarm:
        label = self._data.label
        known = label is not None and int(label[record.row]) >= 0
        alarm = Alarm(
            entity=record.entity,
            first_ms=record.time_ms,
            last_ms=record.time_ms,
            count=0,
            score=record.score,
            threshold=record.threshold,
            features=record.features,
            label="false" if known else "none",
        )
        self._open[record.entity] = alarm
        self._all.append(alarm)
        return alarm

    def _close(self, entity: str) -> None:
        alarm = self._open.pop(entity, None)
        if alarm is not None:
            alarm.is_open = False
            self.closed_false_count += alarm.label == "false"


def _labelled_events(data: Dataset) -> NDArray[np.int32]:
    """For each row of the data the number of the labelled event it is in, or -1."""
    number = np.full(len(data), -1, np.int32)
    if data.label is None:
        return number
    count = 0
    for entity in range(len(data.entities)):
        rows = np.flatnonzero(data.entity == entity)
        starts, ends = events(data.label[rows])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            number[rows[start : end + 1]] = count
            count += 1
    return number
