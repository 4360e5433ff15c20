"""Families side by side: trained on the same rows, measured on the same labels, entities left out included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.artifact import Artifact
from stream_infer.models.dataset import Dataset
from stream_infer.models.evaluate import Cause, Quality, evaluate
from stream_infer.models.loading import LoadedModel, open_artifact
from stream_infer.models.offline import score_rows
from stream_infer.models.placement import Placement
from stream_infer.models.progress import Progress
from stream_infer.models.scored import scored_rows
from stream_infer.models.train import Recipe, train
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable

__all__ = ["Measured", "halves", "left_out", "measure", "us_per_event"]

_BATCH_EVENTS = 2048
_TIMED_BATCHES = 24


@dataclass(frozen=True)
class Measured:
    """One family on one data set. ``us_per_event``: window, score and judge on one core of this machine."""

    family: str
    train_s: float
    us_per_event: float
    quality: Quality

    def to_dict(self) -> dict[str, object]:
        """All of it as plain values, for JSON."""
        return asdict(self)


def measure(
    data: Dataset,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    recipe: Recipe,
    causes: Sequence[Cause],
    progress: Progress,
) -> Measured:
    """Train on the first rows, score the second ones, and hold the scores against their labels."""
    started = time.perf_counter()
    loaded = _opened(train(data, rows[0], (recipe.family, None), recipe, progress))
    train_s = time.perf_counter() - started
    scores = score_rows(
        loaded.model, loaded.profiles, data, rows[1], progress=lambda done: progress("score", done)
    )
    quality = evaluate(scored_rows(data, scores), causes)
    return Measured(recipe.family, train_s, us_per_event(loaded, data, rows[1]), quality)


def halves(data: Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every second entity by name, from the first on, and the others."""
    ordered = sorted(data.entities)
    return tuple(ordered[::2]), tuple(ordered[1::2])


def left_out(
    data: Dataset,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    recipe: Recipe,
    causes: Sequence[Cause],
    progress: Progress,
) -> Quality:
    """Measure every entity with a model that training on the other half of the entities made.

    To that model it is an entity never seen: fleet profile, running statistics, fleet threshold. It has seen the
    entity's first rows pass by, as a worker would have.
    """
    parts = []
    for number, half in enumerate(halves(data)):
        own = np.isin(data.entity, [data.entities.index(name) for name in half])
        learnt, measured = (part[~own[part]] for part in rows)
        loaded = _opened(train(data, rows[0][own[rows[0]]], (recipe.family, None), recipe, progress))
        passing = np.union1d(learnt, measured)

        def report(done: float, number: int = number) -> None:
            progress("score entities left out", (number + done) / 2)

        scores = score_rows(loaded.model, loaded.profiles, data, passing, progress=report)
        scored = scored_rows(data, scores)
        unasked = ~np.isin(passing, measured)
        parts.append(replace(scored, label=np.where(unasked, np.int8(-1), scored.label)))
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("entity", "seq", "time_ms", "label", "score", "is_anomaly", "alert", "top")
    }
    return evaluate(replace(parts[0], **joined), causes)


def us_per_event(loaded: LoadedModel, data: Dataset, rows: NDArray[np.int64]) -> float:
    """Return the microseconds that one event takes in the stages window, score and judge: of batches, the median."""
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, EntityTable(loaded.layout, loaded.profiles))
    in_turn = rows[np.lexsort((data.entity[rows], data.time_ms[rows]))][: _BATCH_EVENTS * _TIMED_BATCHES]
    took_s = []
    for start in range(0, len(in_turn), _BATCH_EVENTS):
        chunk = in_turn[start : start + _BATCH_EVENTS]
        columns = data.columns(chunk)
        partition = np.zeros(len(chunk), np.int32)
        offset = np.arange(start, start + len(chunk), dtype=np.int64)
        began = time.perf_counter()
        scorer.score(columns, partition, offset)
        took_s.append((time.perf_counter() - began) / len(chunk))
    return float(np.median(took_s)) * 1e6


def _opened(artifact: Artifact) -> LoadedModel:
    return open_artifact(artifact, Placement())
