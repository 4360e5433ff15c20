"""The choice of a family by a part of the training rows, without labels.

Every family is trained on the first four fifths of each entity's rows. Into a copy of the rest faults are written that
any watcher should see: shifts, frozen values, swings that grow, values that belong to another moment, each on a few
features for a few rows. The family whose scores put those rows first (VUS-PR) is taken; of those within 0.02 of the
best, the cheapest to run. That such made-up faults rank models as real ones do is what Goswami et al. (Unsupervised
Model Selection for Time-series Anomaly Detection, ICLR 2023) found over many data sets, on the whole, not in each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.artifact import Artifact
from stream_infer.models.dataset import Dataset
from stream_infer.models.evaluate import evaluate
from stream_infer.models.families import available
from stream_infer.models.loading import open_artifact
from stream_infer.models.offline import score_rows
from stream_infer.models.placement import Placement
from stream_infer.models.progress import Progress
from stream_infer.models.scored import scored_rows
from stream_infer.models.train import Recipe, train

__all__ = ["choose", "train_chosen", "with_faults"]

_LEARNT_SHARE = 0.8
_ENTITIES_MAX = 12
_ROWS_MAX = 4000
_FAULT_EVERY = 200
_TIE = 0.02
_RECORDED = "chosen_by_vus_pr_"


def train_chosen(
    data: Dataset,
    rows: NDArray[np.int64],
    identity: tuple[str, str | None],
    recipe: Recipe,
    progress: Progress,
) -> Artifact:
    """Choose a family and train it on all rows; the figures of all are kept in the manifest's metrics."""
    family, figures = choose(data, rows, recipe, progress)
    artifact = train(data, rows, identity, replace(recipe, family=family), progress)
    metrics = {f"{_RECORDED}{name}": figure for name, figure in figures.items()}
    manifest = artifact.manifest.model_copy(update={"metrics": artifact.manifest.metrics | metrics})
    return artifact.altered(manifest)


def choose(
    data: Dataset, rows: NDArray[np.int64], recipe: Recipe, progress: Progress
) -> tuple[str, dict[str, float]]:
    """Return the family to take, and of each family the VUS-PR over rows with made-up faults."""
    learnt, rest = _split(data, rows, recipe.entity_rows_min)
    broken = with_faults(data, rest, recipe.seed)
    figures = {}
    for family in available():

        def report(step: str, done: float, family: str = family) -> None:
            progress(f"try {family}: {step}", done)

        loaded = open_artifact(
            train(data, learnt, ("trial", None), replace(recipe, family=family), report), Placement()
        )
        scores = score_rows(loaded.model, loaded.profiles, broken, rest)
        figures[family] = evaluate(scored_rows(broken, scores)).vus_pr or 0.0
    best = max(figures.values())
    return next(family for family, figure in figures.items() if figure >= best - _TIE), figures


def with_faults(data: Dataset, rows: NDArray[np.int64], seed: int) -> Dataset:
    """Write faults into a copy of the data, about one in 200 of these rows, and label these rows by them.

    ``rows`` come entity by entity, in time order.
    """
    rng = np.random.default_rng(seed)
    features = data.features.astype(np.float64)
    label = np.zeros(len(data), np.int8)
    for own in np.split(rows, np.flatnonzero(np.diff(data.entity[rows])) + 1):
        scale = np.nanstd(np.where(np.isfinite(features[own]), features[own], np.nan), axis=0)
        for start in np.arange(_FAULT_EVERY // 2, len(own) - 40, _FAULT_EVERY):
            begin = start + rng.integers(0, _FAULT_EVERY // 3)
            fault = own[begin : begin + rng.integers(3, 30)]
            _break(features, fault, own, scale, rng)
            label[fault] = 1
    return replace(data, features=features, label=label)


def _break(
    features: NDArray[np.float64],
    fault: NDArray[np.int64],
    own: NDArray[np.int64],
    scale: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Write one fault of a random kind into a few features of these rows."""
    width = features.shape[1]
    chosen = rng.choice(width, rng.integers(1, max(2, width // 4 + 1)), replace=False)
    sound = features[np.ix_(fault, chosen)]
    kind = rng.integers(4)
    if kind == 0:
        broken = sound + rng.choice([-1, 1], len(chosen)) * rng.uniform(1, 4, len(chosen)) * scale[chosen]
    elif kind == 1:
        broken = np.broadcast_to(sound[0] + rng.uniform(-1, 1, len(chosen)) * scale[chosen], sound.shape)
    elif kind == 2:
        middle = sound.mean(axis=0)
        broken = middle + rng.uniform(2, 5) * (sound - middle) + rng.normal(size=sound.shape) * scale[chosen]
    else:
        elsewhere = rng.integers(0, len(own) - len(fault) + 1)
        broken = features[np.ix_(own[elsewhere : elsewhere + len(fault)], chosen)]
    features[np.ix_(fault, chosen)] = broken


def _split(
    data: Dataset, rows: NDArray[np.int64], rows_min: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First four fifths of the rows of some entities, and of each at most 4,000 of those that follow."""
    rows = np.sort(rows)
    pieces = np.split(rows, np.flatnonzero(np.diff(data.entity[rows])) + 1)
    enough = [own for own in pieces if len(own) * _LEARNT_SHARE >= rows_min] or pieces
    picked = [enough[i] for i in np.unique(np.linspace(0, len(enough) - 1, _ENTITIES_MAX).astype(int))]
    cuts = [round(len(own) * _LEARNT_SHARE) for own in picked]
    learnt = np.concatenate([own[:cut] for own, cut in zip(picked, cuts, strict=True)])
    rest = np.concatenate([own[cut : cut + _ROWS_MAX] for own, cut in zip(picked, cuts, strict=True)])
    return learnt, rest
