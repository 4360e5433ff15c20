"""Training: rows -> artifact. Fit, then calibrate through the same Scorer that the worker runs.

The recipe: standardise per entity; one forecast of the newest row from the four before it for all entities;
its error per feature, divided by the entity's usual error, squared, clipped and smoothed; the mean over features
divided by the entity's mean of it; the threshold a quantile of what is left. Optionally a second term: what the
principal components of the last 20 rows leave of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stream_infer.errors import ConfigError
from stream_infer.models.artifact import Artifact, pack_profiles
from stream_infer.models.dataset import Dataset
from stream_infer.models.fit import (
    Standard,
    fill_missing,
    fit_error_sd,
    fit_forecast,
    fit_standard,
    fit_subspace,
    standardised,
)
from stream_infer.models.graph import build_graph
from stream_infer.models.manifest import Manifest, Term
from stream_infer.models.offline import profile_rows, score_rows
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.windows.profiles import Profiles

__all__ = ["Recipe", "train"]

Progress = Callable[[str, float], None]
"""Told the step by name, and the share of it that is done."""

_FORECAST_TERM = Term(name="forecast", smoothing=0.1, clip=1000.0)
_SUBSPACE_TERM = Term(name="subspace", smoothing=1.0, clip=1e12)
_ERROR_SD_FLOOR = 0.2
_BATCH_SIZE = 4096
_SCALED_AWAY = 1e30
_SCALE_MIN = 1e-9
_SCALE_SHARE_MIN = 1e-3


def _silent(step: str, done: float) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Recipe:
    """Choices of training. The defaults are those of the measured recipe.

    ``threshold_quantile``: share of the entity's own training rows that stay under its threshold.
    ``entity_rows_min``: entities with fewer training rows are left to the fleet's profile.
    """

    lags: int = 4
    subspace: bool = False
    subspace_window: int = 20
    threshold_quantile: float = 0.995
    missing: Literal["impute", "reject"] = "impute"
    entity_rows_min: int = 100

    @property
    def window(self) -> int:
        """Rows of a window, the newest included."""
        return max(self.lags + 1, self.subspace_window) if self.subspace else self.lags + 1

    @property
    def terms(self) -> tuple[Term, ...]:
        """The score's terms in the order of the graph's output."""
        return (_FORECAST_TERM, _SUBSPACE_TERM) if self.subspace else (_FORECAST_TERM,)


def train(
    data: Dataset,
    rows: NDArray[np.int64],
    identity: tuple[str, str | None],
    recipe: Recipe = Recipe(),
    progress: Progress = _silent,
) -> Artifact:
    """Learn from these rows of the dataset. ``identity`` is (name, version); no version = the content's digest.

    The same rows and recipe give the same artifact. Raises ConfigError for a name that cannot be used, or
    when no entity has enough rows.
    """
    manifest = _manifest(identity, data.feature_names, data.fingerprint(rows), recipe)
    by_entity = _rows_by_entity(data, rows, recipe.entity_rows_min)
    standard, series = _standardise(data, by_entity, progress)
    progress("fit", 0.0)
    forecast = fit_forecast(series, recipe.lags)
    progress("fit", 0.5)
    subspace = fit_subspace(series, recipe.window) if recipe.subspace else None
    progress("fit", 1.0)
    content = build_graph(recipe.window, forecast, subspace)
    model = OnnxModel.open(content, (manifest.name, manifest.version), manifest.layout)
    error_sd = np.ones((len(series), model.layout.terms, model.layout.features), np.float32)
    error_sd[:, 0] = np.maximum(
        fit_error_sd(series, forecast), _ERROR_SD_FLOOR
    )  # a residual is an energy: sd 1
    names = tuple(data.entities[entity].encode() for entity in by_entity)
    profiles = _uncalibrated(names, standard, error_sd)
    used = np.concatenate(list(by_entity.values()))
    profiles = _calibrate(model, profiles, data, used, recipe, progress)
    metrics = {"train_rows": float(len(used)), "train_entities": float(len(names))}
    version = identity[1] or _content_version(content, profiles)
    manifest = manifest.model_copy(update={"version": version, "metrics": metrics})
    return Artifact.of(manifest, content, profiles)


def _manifest(
    identity: tuple[str, str | None], features: tuple[str, ...], fingerprint: str, recipe: Recipe
) -> Manifest:
    """What is known before anything is learned."""
    try:
        return Manifest(
            name=identity[0],
            version=identity[1] or "unversioned",
            features=features,
            window=recipe.window,
            missing=recipe.missing,
            terms=recipe.terms,
            data_fingerprint=fingerprint,
            metrics={},
            files={},
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]) if first["loc"] else "features"
        raise ConfigError(f"--{option}: {first['msg']}, not {first['input']!r:.100}") from None


def _rows_by_entity(data: Dataset, rows: NDArray[np.int64], rows_min: int) -> dict[int, NDArray[np.int64]]:
    counts = np.bincount(data.entity[rows], minlength=len(data.entities))
    enough = {
        entity: rows[data.entity[rows] == entity] for entity, count in enumerate(counts) if count >= rows_min
    }
    if not enough:
        raise ConfigError(
            f"no entity has {rows_min} training rows (the most are {counts.max(initial=0)}); "
            "check --train-split, or lower --min-rows"
        )
    return enough


def _standardise(
    data: Dataset, by_entity: dict[int, NDArray[np.int64]], progress: Progress
) -> tuple[Standard, list[NDArray[np.float32]]]:
    """Statistics, and each entity's standardised rows with no value missing."""
    progress("standardise", 0.0)
    standard = fit_standard([data.features[rows] for rows in by_entity.values()])
    series = []
    for index, rows in enumerate(by_entity.values()):
        raw = data.features[rows].astype(np.float64)
        raw[~np.isfinite(raw)] = np.nan
        series.append(fill_missing(standardised(raw, standard.center[index], standard.spread[index])))
        progress("standardise", (index + 1) / len(by_entity))
    return standard, series


def _uncalibrated(names: tuple[bytes, ...], standard: Standard, error_sd: NDArray[np.float32]) -> Profiles:
    """Profiles with the fleet's row at the end, scale 1 and threshold 0."""
    rows, terms = len(names) + 1, error_sd.shape[1]
    return Profiles(
        names=names,
        center=np.vstack([standard.center, standard.fleet_center]),
        spread=np.vstack([standard.spread, standard.fleet_spread]),
        error_sd=np.concatenate([error_sd, np.median(error_sd, axis=0, keepdims=True)]),
        scale=np.ones((rows, terms)),
        threshold=np.zeros(rows),
    )


def _calibrate(
    model: OnnxModel,
    profiles: Profiles,
    data: Dataset,
    rows: NDArray[np.int64],
    recipe: Recipe,
    progress: Progress,
) -> Profiles:
    """Scale and threshold of each entity from its own training rows; the fleet's are the medians.

    The rows go through the Scorer once per term, with the other terms scaled away: so each is read by the code
    that will judge it.
    """
    terms = profiles.scale.shape[1]
    entities = len(profiles.names)
    entity = profile_rows(profiles, data)[data.entity[rows]]
    raw = np.empty((len(rows), terms))
    for term in range(terms):
        alone = np.full_like(profiles.scale, _SCALED_AWAY)
        alone[:, term] = 1.0

        def share_done(done: float, term: int = term) -> None:
            progress("calibrate", (term + done) / terms)

        scored = score_rows(model, replace(profiles, scale=alone), data, rows, _BATCH_SIZE, share_done)
        raw[:, term] = scored.score
    good = np.isfinite(raw).all(axis=1)
    means = np.array([raw[good & (entity == index)].mean(axis=0) for index in range(entities)])
    fleet_scale = np.maximum(np.median(means, axis=0), _SCALE_MIN)
    scale = np.vstack([np.maximum(means, _SCALE_SHARE_MIN * fleet_scale), fleet_scale])
    score = (raw / scale[entity]).sum(axis=1)
    threshold = [
        np.quantile(score[good & (entity == index)], recipe.threshold_quantile) for index in range(entities)
    ]
    return replace(profiles, scale=scale, threshold=np.array([*threshold, np.median(threshold)]))


def _content_version(model: bytes, profiles: Profiles) -> str:
    return hashlib.sha256(model + pack_profiles(profiles)).hexdigest()[:12]
