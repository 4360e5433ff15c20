"""Calibration: scale and threshold of each entity, from rows read by the code that will judge them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.dataset import Dataset
from stream_infer.models.model import Model
from stream_infer.models.offline import profile_rows, score_rows
from stream_infer.models.progress import Report
from stream_infer.windows.profiles import Profiles

__all__ = ["calibrate", "thresholds"]

_BATCH_SIZE = 4096
_SCALED_AWAY = 1e30
_SCALE_MIN = 1e-9
_SCALE_SHARE_MIN = 1e-3
_THRESHOLD_SHARE_MIN = 1e-2
_THRESHOLD_MIN = 1e-9


def calibrate(
    model: Model,
    profiles: Profiles,
    data: Dataset,
    rows: NDArray[np.int64],
    quantile: float,
    progress: Report,
) -> Profiles:
    """Scale and threshold of each profile from these rows of its entity; the fleet's are the medians.

    The rows go through the Scorer once per term, with the other terms scaled away.
    """
    terms = profiles.scale.shape[1]
    entities = len(profiles.names)
    entity = profile_rows(profiles, data)[data.entity[rows]]
    raw = np.empty((len(rows), terms))
    for term in range(terms):
        alone = np.full_like(profiles.scale, _SCALED_AWAY)
        alone[:, term] = 1.0

        def share_done(done: float, term: int = term) -> None:
            progress((term + done) / terms)

        scored = score_rows(model, replace(profiles, scale=alone), data, rows, _BATCH_SIZE, share_done)
        raw[:, term] = scored.score
    good = np.isfinite(raw).all(axis=1)
    means = np.array([raw[good & (entity == index)].mean(axis=0) for index in range(entities)])
    fleet_scale = np.maximum(np.median(means, axis=0), _SCALE_MIN)
    scale = np.vstack([np.maximum(means, _SCALE_SHARE_MIN * fleet_scale), fleet_scale])
    score = (raw / scale[entity]).sum(axis=1)
    return thresholds(replace(profiles, scale=scale), entity, score, quantile, rows_min=1)


def thresholds(
    profiles: Profiles,
    entity: NDArray[np.int64],
    score: NDArray[np.float64],
    quantile: float,
    rows_min: int,
) -> Profiles:
    """Set each entity's threshold to a quantile of its scores; the fleet's is the median of those set.

    ``entity`` (n) are rows of the profiles, ``score`` (n) may hold NaN. An entity with fewer than ``rows_min`` scores
    keeps its threshold, and so does the fleet where none has enough. None is set under a hundredth of the fleet's: an
    entity whose scores were all 0 would see an anomaly in every row.
    """
    good = np.isfinite(score)
    order = np.argsort(entity[good], kind="stable")
    ranked, codes = score[good][order], entity[good][order]
    starts = np.searchsorted(codes, np.arange(len(profiles.names) + 1))
    threshold = profiles.threshold.copy()
    found = [
        index for index in range(len(profiles.names)) if starts[index + 1] - starts[index] >= max(rows_min, 1)
    ]
    for index in found:
        threshold[index] = np.quantile(ranked[starts[index] : starts[index + 1]], quantile)
    if found:
        threshold[profiles.fleet] = np.median(threshold[found])
        threshold[found] = np.maximum(threshold[found], _THRESHOLD_SHARE_MIN * threshold[profiles.fleet])
    return replace(profiles, threshold=np.maximum(threshold, _THRESHOLD_MIN))
