"""Pairs made up by a seeded generator, with what a real pair of models shows: gaps, rejects, flips, two versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from stream_infer.comparison.pairs import Contributions, Pairs, Versions

ENTITIES = tuple(f"machine-{number}" for number in range(7))
VERSIONS = (Versions("shadow", "p1", "s1"), Versions("shadow", "p2", "s1"))


def made(seed: int, count: int = 400, partition: int = 0, first: int = 0, *, labels: bool = True) -> Pairs:
    rng = np.random.default_rng(seed)
    primary = rng.lognormal(0, 1, count)
    shadow = primary * rng.lognormal(0, 0.3, count)
    primary[rng.random(count) < 0.03] = np.nan
    shadow[rng.random(count) < 0.05] = np.nan
    primary_threshold, shadow_threshold = np.full(count, 3.0), np.full(count, 2.9)
    label = rng.integers(-1, 2, count).astype(np.int8) if labels else np.full(count, -1, np.int8)
    offset = first + np.arange(count)
    return Pairs(
        partition=np.full(count, partition, np.int32),
        offset=offset.astype(np.int64),
        event_id=np.array([f"e{partition}-{one}" for one in offset], object),
        time_ms=(offset * 20_000 + rng.integers(0, 50_000, count)).astype(np.int64),
        entity=ENTITIES,
        entity_code=rng.integers(0, len(ENTITIES), count).astype(np.int64),
        versions=VERSIONS,
        versions_code=(offset > first + count * 0.7).astype(np.int64),
        primary_score=primary,
        primary_threshold=primary_threshold,
        primary_anomaly=judged(primary, primary_threshold),
        primary_latency_ms=rng.integers(1, 80, count).astype(np.float64),
        primary_error=np.where(np.isnan(primary), "truncated", "").astype(object),
        shadow_score=shadow,
        shadow_threshold=shadow_threshold,
        shadow_anomaly=judged(shadow, shadow_threshold),
        shadow_latency_ms=np.where(rng.random(count) < 0.1, np.nan, rng.integers(2, 160, count)),
        shadow_error=np.where(np.isnan(shadow), "gone", "").astype(object),
        label=label,
        names={"p1": "smd", "s1": "smd"},
        contributions=contributions,
    )


def judged(score: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(score), -1, score >= threshold).astype(np.int8)


def contributions(row: int) -> Contributions:
    return (("cpu", 0.75), ("load", 0.25)), (("load", 1.0),)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """All rows of pairs that were ``made``, end to end: they have their tables and contributions in common."""
    columns = [field.name for field in fields(Pairs) if isinstance(getattr(parts[0], field.name), np.ndarray)]
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return replace(parts[0], **values, contributions=contributions)
