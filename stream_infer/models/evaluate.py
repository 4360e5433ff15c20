"""How good scores are: against labels, and against the causes that experts marked."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.models.vus import auc_pr, events, vus_pr
from stream_infer.windows.alert_kernel import BEGINS, NO_ALERT

__all__ = ["Cause", "EntityQuality", "Quality", "ScoredRows", "evaluate", "read_causes"]

_DAY_MS = 86_400_000
_NAMED_COUNT = 3


@dataclass(frozen=True)
class ScoredRows:
    """Scores with labels, in time order per entity.

    ``entity`` (int32, n) indexes ``entities``. ``top`` (int32, n, K) indexes ``features``, largest share first, -1 =
    none. ``label`` is -1 where nobody said; ``score`` NaN where the row was rejected. ``alert``: 0 none, 1 begins,
    2 continues, 3 ends.
    """

    entities: tuple[str, ...]
    features: tuple[str, ...]
    entity: NDArray[np.int32]
    seq: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    label: NDArray[np.int8]
    score: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    alert: NDArray[np.uint8]
    top: NDArray[np.int32]


@dataclass(frozen=True)
class Cause:
    """Experts' word on one event: rows ``seq_start`` <= seq < ``seq_end`` of an entity, and the features at fault."""

    entity: str
    seq_start: int
    seq_end: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class EntityQuality:
    """Measures of one entity.

    An event is a run of rows labelled 1, found if an anomaly is among them; a false alarm is an alert that touches no
    event. The areas are None where the labels hold no anomaly. ``delays_s``: of each event found, the seconds from its
    first row to its first anomaly.
    """

    entity: str
    rows: int
    vus_pr: float | None
    auc_pr: float | None
    random_vus_pr: float | None
    random_auc_pr: float | None
    events: int
    events_found: int
    alerts: int
    false_alarms: int
    days: float
    delays_s: tuple[float, ...]


@dataclass(frozen=True)
class Quality:
    """Means over the entities whose labels hold an anomaly, sums over all of them, and each entity.

    ``delay_s`` is the median over the events found. ``root_cause_share``: of min(3, marked) features per marked event,
    the share that is among the three named at the event's highest score; None where no causes were given or none
    could be looked up.
    """

    entities: int
    rows: int
    rejected: int
    vus_pr: float | None
    auc_pr: float | None
    random_vus_pr: float | None
    random_auc_pr: float | None
    events: int
    events_found: int
    delay_s: float | None
    alerts: int
    false_alarms_per_entity_day: float | None
    root_cause_share: float | None
    root_cause_events: int
    per_entity: tuple[EntityQuality, ...]

    def to_dict(self) -> dict[str, object]:
        """All of it as plain values, for JSON."""
        return asdict(self)


def evaluate(scored: ScoredRows, causes: Sequence[Cause] = (), seed: int = 0) -> Quality:
    """Measure scores against labels; rows labelled below 0 (nobody said) and rows without a score are left out.

    ``seed`` is that of the random score measured beside them. Raises ConfigError when no row has a label.
    """
    known = scored.label >= 0
    if not known.any():
        raise ConfigError("no row of these scores has a label: evaluate needs 0 or 1 in the label column")
    rejected = int((known & ~np.isfinite(scored.score)).sum())
    good = known & np.isfinite(scored.score)
    generator = np.random.default_rng(seed)
    per_entity, hits, wanted, looked_up = [], 0, 0, 0
    for entity in np.unique(scored.entity[good]):
        rows = np.flatnonzero(good & (scored.entity == entity))
        per_entity.append(_entity_quality(scored, rows, generator))
        for cause in causes:
            if cause.entity == scored.entities[entity] and (found := _named_of_marked(scored, rows, cause)):
                hits, wanted, looked_up = hits + found[0], wanted + found[1], looked_up + 1
    days = sum(entity.days for entity in per_entity)
    false_alarms = sum(entity.false_alarms for entity in per_entity)
    return Quality(
        entities=len(per_entity),
        rows=int(good.sum()),
        rejected=rejected,
        vus_pr=_mean([entity.vus_pr for entity in per_entity]),
        auc_pr=_mean([entity.auc_pr for entity in per_entity]),
        random_vus_pr=_mean([entity.random_vus_pr for entity in per_entity]),
        random_auc_pr=_mean([entity.random_auc_pr for entity in per_entity]),
        events=sum(entity.events for entity in per_entity),
        events_found=sum(entity.events_found for entity in per_entity),
        delay_s=_median([delay for entity in per_entity for delay in entity.delays_s]),
        alerts=sum(entity.alerts for entity in per_entity),
        false_alarms_per_entity_day=false_alarms / days if days else None,
        root_cause_share=hits / wanted if wanted else None,
        root_cause_events=looked_up,
        per_entity=tuple(per_entity),
    )


def read_causes(path: Path | str) -> list[Cause]:
    """Read a CSV with entity_id, seq_start, seq_end (exclusive) and features (separated by blanks).

    Raises ConfigError naming the line at fault.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            return [
                _cause(row, f"--root-causes {path}: line {line}")
                for line, row in enumerate(csv.DictReader(file), 2)
            ]
    except OSError as error:
        raise ConfigError(f"--root-causes {path}: cannot be read: {error.strerror}") from error


def _cause(row: Mapping[str, str], where: str) -> Cause:
    try:
        features = tuple(row["features"].split())
        return Cause(row["entity_id"], int(row["seq_start"]), int(row["seq_end"]), features)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{where}: needs entity_id, seq_start, seq_end and features") from error


def _entity_quality(
    scored: ScoredRows, rows: NDArray[np.int64], generator: np.random.Generator
) -> EntityQuality:
    label, score, is_anomaly = scored.label[rows], scored.score[rows], scored.is_anomaly[rows]
    time_ms = scored.time_ms[rows]
    chance = generator.random(len(rows))
    starts, ends = events(label)
    touched = _labelled_alerts(scored.alert[rows], label)
    delays_s = [
        float(time_ms[start + np.argmax(is_anomaly[start : end + 1])] - time_ms[start]) / 1000
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if is_anomaly[start : end + 1].any()
    ]
    labelled = len(starts) > 0
    return EntityQuality(
        entity=scored.entities[scored.entity[rows[0]]],
        rows=len(rows),
        vus_pr=vus_pr(score, label) if labelled else None,
        auc_pr=auc_pr(score, label) if labelled else None,
        random_vus_pr=vus_pr(chance, label) if labelled else None,
        random_auc_pr=auc_pr(chance, label) if labelled else None,
        events=len(starts),
        events_found=len(delays_s),
        alerts=len(touched),
        false_alarms=int((~touched).sum()),
        days=float(time_ms.max() - time_ms.min()) / _DAY_MS,
        delays_s=tuple(delays_s),
    )


def _labelled_alerts(alert: NDArray[np.uint8], label: NDArray[np.int8]) -> NDArray[np.bool_]:
    """For each alert of one entity whether a row of it is labelled 1."""
    inside = alert != NO_ALERT
    begins = (alert == BEGINS) | (
        inside & ~np.r_[False, inside[:-1]]
    )  # what began before the first row counts too
    number = np.cumsum(begins)[inside] - 1
    touched = np.zeros(int(begins.sum()), np.bool_)
    touched[number[label[inside] > 0]] = True
    return touched


def _named_of_marked(scored: ScoredRows, rows: NDArray[np.int64], cause: Cause) -> tuple[int, int] | None:
    """(features named and marked, min(3, marked)) at the event's peak; None where the rows or names are not there."""
    seq = scored.seq[rows]
    event = rows[(seq >= cause.seq_start) & (seq < cause.seq_end)]
    if len(event) == 0 or not cause.features:
        return None
    top = scored.top[event[np.argmax(scored.score[event])]][:_NAMED_COUNT]
    named = [scored.features[feature] for feature in top if feature >= 0]
    if not named:
        return None
    return len(set(named) & set(cause.features)), min(_NAMED_COUNT, len(cause.features))


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
