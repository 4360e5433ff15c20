"""Offline scoring: a dataset through the same Scorer that the worker runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.dataset import Dataset
from stream_infer.models.model import Model
from stream_infer.models.progress import Report, silent
from stream_infer.records import Scores
from stream_infer.scorer import Scorer
from stream_infer.windows.alert_kernel import alert_rows
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.table import EntityTable

__all__ = ["OfflineScores", "profile_rows", "score_rows"]


@dataclass(frozen=True)
class OfflineScores:
    """Scores of chosen rows of a dataset, aligned with ``rows``; NaN where a row was rejected.

    ``top`` (n, K) holds the features with the largest shares of EVERY row, not of anomalies alone: offline one
    wants to know what a near miss was made of. ``alert`` is where each row stands to an alert, 0 without one.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    top: NDArray[np.int32]
    share: NDArray[np.float32]
    alert: NDArray[np.uint8]
    rejected_count: int


def score_rows(
    model: Model,
    profiles: Profiles,
    data: Dataset,
    rows: NDArray[np.int64],
    batch_size: int = 4096,
    progress: Report = silent,
) -> OfflineScores:
    """Score these rows of the dataset in their order, every entity starting cold at its first row here.

    The scores do not depend on ``batch_size`` (up to rounding in the model's product).
    """
    # Each row counts as an anomaly while scoring, so that the judge names the features of each.
    named = replace(profiles, threshold=np.full_like(profiles.threshold, -np.inf))
    scorer = _new_scorer(model, named, model.layout)
    parts, kept = [], []
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        partition = np.zeros(len(chunk), np.int32)
        offset = np.arange(start, start + len(chunk), dtype=np.int64)
        good, scores, _ = scorer.score(data.columns(chunk), partition, offset)
        parts.append(scores)
        kept.append(start + np.asarray(good))
        progress((start + len(chunk)) / len(rows))
    threshold = profiles.threshold[profile_rows(profiles, data)[data.entity[rows]]]
    gathered = _gather(rows, parts, kept, threshold)
    alert_rows(
        data.entity[rows],
        gathered.score,
        threshold,
        model.layout.release_ratio,
        model.layout.release_rows,
        np.zeros(len(data.entities), np.int32),
        gathered.alert,
    )
    return gathered


def profile_rows(profiles: Profiles, data: Dataset) -> NDArray[np.int64]:
    """Return the profile (row of the tables) of each of the dataset's entities; the fleet's for one not trained on."""
    index = {name: row for row, name in enumerate(profiles.names)}
    return np.array([index.get(name.encode(), len(profiles.names)) for name in data.entities])


def _new_scorer(model: Model, profiles: Profiles, layout: Layout) -> Scorer:
    return Scorer(model, profiles, layout, EntityTable(layout, profiles))


def _gather(
    rows: NDArray[np.int64],
    parts: list[Scores],
    kept: list[NDArray[np.int64]],
    threshold: NDArray[np.float64],
) -> OfflineScores:
    at = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    names_count = parts[0].top.shape[1] if parts else 0
    score = np.full(len(rows), np.nan)
    top = np.full((len(rows), names_count), -1, np.int32)
    share = np.zeros((len(rows), names_count), np.float32)
    for values, attribute in ((score, "score"), (top, "top"), (share, "share")):
        if parts:
            values[at] = np.concatenate([getattr(part, attribute) for part in parts])
    return OfflineScores(
        rows=rows,
        score=score,
        threshold=threshold,
        is_anomaly=score >= threshold,  # False for NaN
        top=top,
        share=share,
        alert=np.empty(len(rows), np.uint8),
        rejected_count=len(rows) - len(at),
    )
