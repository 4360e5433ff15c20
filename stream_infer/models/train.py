"""Training: rows -> artifact. Standardise, fit a family, then calibrate through the Scorer that the worker runs.

The score of a row: each part of the family gives one error per feature; it is divided by the entity's usual error,
squared, clipped and smoothed; the mean over features is divided by the entity's mean of it; the parts are added. The
threshold is a quantile of that over the entity's own training rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stream_infer.errors import ConfigError
from stream_infer.models.artifact import Artifact, pack_profiles
from stream_infer.models.calibrate import calibrate
from stream_infer.models.dataset import Dataset
from stream_infer.models.families import Fitting, Part, Series, fit_family
from stream_infer.models.graph import build_graph
from stream_infer.models.manifest import Manifest, Term
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.progress import Progress, silent
from stream_infer.models.standard import Standard, fill_missing, fit_standard, standardised
from stream_infer.windows.profiles import Profiles

__all__ = ["Recipe", "Standardised", "standardise", "train"]


@dataclass(frozen=True)
class Recipe:
    """Choices of training.

    ``family``: one of FAMILIES. ``threshold_quantile``: share of the entity's own training rows that stay under its
    threshold. ``entity_rows_min``: entities with fewer training rows are left to the fleet's profile. ``seed`` and
    ``device`` are those of networks.
    """

    family: str = "forecast"
    threshold_quantile: float = 0.985
    missing: Literal["impute", "reject"] = "impute"
    entity_rows_min: int = 100
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True)
class Standardised:
    """Training rows of the entities that have enough of them: their numbers in the data, names, statistics, rows."""

    rows: NDArray[np.int64]
    names: tuple[bytes, ...]
    standard: Standard
    series: Series


def train(
    data: Dataset,
    rows: NDArray[np.int64],
    identity: tuple[str, str | None],
    recipe: Recipe = Recipe(),
    progress: Progress = silent,
) -> Artifact:
    """Learn from these rows of the dataset. ``identity`` is (name, version); no version = the content's digest.

    The same rows and recipe give the same artifact (of a network: on the same kind of machine). Raises ConfigError for
    a name that cannot be used, when no entity has enough rows, or when the family cannot be trained here.
    """
    # The name is held against the manifest's rules before anything is learned.
    draft = _manifest(identity, data, rows, recipe)
    known = standardise(data, rows, recipe.entity_rows_min, progress)
    fitting = Fitting(recipe.seed, recipe.device, lambda done: progress(f"fit {recipe.family}", done))
    parts = fit_family(recipe.family, known.series, fitting)
    window = max(part.rows for part in parts)
    content = build_graph(window, len(data.feature_names), parts)
    terms = tuple(part.term for part in parts)
    metrics = {"train_rows": float(len(known.rows)), "train_entities": float(len(known.names))}
    manifest = draft.model_copy(update={"window": window, "terms": terms, "metrics": metrics})
    model = OnnxModel.open(content, (manifest.name, manifest.version), manifest.layout)
    profiles = calibrate(
        model,
        _uncalibrated(known, parts),
        data,
        known.rows,
        recipe.threshold_quantile,
        lambda done: progress("calibrate", done),
    )
    version = identity[1] or _content_version(content, profiles)
    return Artifact.of(manifest.model_copy(update={"version": version}), content, profiles)


def standardise(
    data: Dataset, rows: NDArray[np.int64], rows_min: int, progress: Progress = silent
) -> Standardised:
    """Statistics and standardised rows, no value missing, of each entity with at least ``rows_min`` of these rows.

    Raises ConfigError where none has.
    """
    by_entity = _rows_by_entity(data, rows, rows_min)
    progress("standardise", 0.0)
    standard = fit_standard([data.features[own] for own in by_entity.values()])
    series = []
    for index, own in enumerate(by_entity.values()):
        raw = data.features[own].astype(np.float64)
        raw[~np.isfinite(raw)] = np.nan
        series.append(fill_missing(standardised(raw, standard.center[index], standard.spread[index])))
        progress("standardise", (index + 1) / len(by_entity))
    names = tuple(data.entities[entity].encode() for entity in by_entity)
    return Standardised(np.concatenate(list(by_entity.values())), names, standard, series)


def _manifest(
    identity: tuple[str, str | None], data: Dataset, rows: NDArray[np.int64], recipe: Recipe
) -> Manifest:
    """What is known before anything is learned."""
    try:
        return Manifest(
            name=identity[0],
            version=identity[1] or "unversioned",
            family=recipe.family,
            features=data.feature_names,
            window=1,
            missing=recipe.missing,
            terms=(Term(name="unknown", smoothing=1.0, clip=1.0),),
            data_fingerprint=data.fingerprint(rows),
            metrics={},
            files={},
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]) if first["loc"] else "features"
        raise ConfigError(f"--{option}: {first['msg']}, not {first['input']!r:.100}") from None


def _rows_by_entity(data: Dataset, rows: NDArray[np.int64], rows_min: int) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(data.entity[rows], kind="stable")
    counts = np.bincount(data.entity[rows], minlength=len(data.entities))
    pieces = np.split(rows[order], np.cumsum(counts)[:-1])
    enough = {entity: own for entity, own in enumerate(pieces) if len(own) >= rows_min}
    if not enough:
        raise ConfigError(
            f"no entity has {rows_min} training rows (the most are {counts.max(initial=0)}); "
            "check --train-split, or lower --min-rows"
        )
    return enough


def _uncalibrated(known: Standardised, parts: Sequence[Part]) -> Profiles:
    """Profiles with the fleet's row at the end, scale 1 and threshold 0."""
    error_sd = np.stack([part.usual(known.series) for part in parts], axis=1).astype(np.float32)
    rows, terms = len(known.names) + 1, len(parts)
    standard = known.standard
    return Profiles(
        names=known.names,
        center=np.vstack([standard.center, standard.fleet_center]),
        spread=np.vstack([standard.spread, standard.fleet_spread]),
        error_sd=np.concatenate([error_sd, np.median(error_sd, axis=0, keepdims=True)]),
        scale=np.ones((rows, terms)),
        threshold=np.zeros(rows),
    )


def _content_version(model: bytes, profiles: Profiles) -> str:
    return hashlib.sha256(model + pack_profiles(profiles)).hexdigest()[:12]
