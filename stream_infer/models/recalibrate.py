"""New thresholds for a model from scores that it gave lately: nothing is trained, no label is needed."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.models.artifact import Artifact, pack_profiles
from stream_infer.models.calibrate import thresholds

__all__ = ["Recalibrated", "recalibrated"]


class Recalibrated(NamedTuple):
    """The artifact with new thresholds, and what changed.

    ``entities``: how many got a threshold of their own; ``alarm_share_before``, ``alarm_share_after``: of the rows, at
    or over the threshold.
    """

    artifact: Artifact
    entities: int
    alarm_share_before: float
    alarm_share_after: float


def recalibrated(
    artifact: Artifact,
    names: tuple[bytes, ...],
    entity: NDArray[np.int64],
    score: NDArray[np.float64],
    quantile: float,
    rows_min: int,
) -> Recalibrated:
    """Set each entity's threshold to a quantile of its scores; ``entity`` (n) indexes ``names``.

    Entities with fewer than ``rows_min`` scores keep theirs. The fleet's threshold, which serves entities that training
    never saw, comes from the scores of those where there are enough, else from the medians. Raises ConfigError where
    nothing would change.
    """
    profiles = artifact.profiles
    number = {name: row for row, name in enumerate(profiles.names)}
    profile = np.array([number.get(name, profiles.fleet) for name in names], np.int64)[entity]
    new = thresholds(profiles, profile, score, quantile, rows_min)
    unseen = score[(profile == profiles.fleet) & np.isfinite(score)]
    if len(unseen) >= rows_min:
        fleet = float(np.quantile(unseen, quantile))
        new.threshold[profiles.fleet] = max(fleet, float(np.finfo(np.float32).tiny))
    changed = int((new.threshold[:-1] != profiles.threshold[:-1]).sum())
    if (new.threshold == profiles.threshold).all():
        raise ConfigError(
            f"no entity has {rows_min} scored rows here, nothing to calibrate by: take more data (--since, --split) or "
            "lower --min-rows"
        )
    before, after = (float((score >= one.threshold[profile]).mean()) for one in (profiles, new))
    version = hashlib.sha256(artifact.model + pack_profiles(new)).hexdigest()[:12]
    metrics = {"calibrated_rows": float(len(score)), "calibrated_entities": float(changed)}
    manifest = artifact.manifest.model_copy(
        update={"version": version, "metrics": artifact.manifest.metrics | metrics}
    )
    return Recalibrated(artifact.altered(manifest, new), changed, before, after)
