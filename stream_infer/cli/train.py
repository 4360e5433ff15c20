"""``stream-infer train``: rows in, model artifact out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.data_options import (
    column_options,
    data_option,
    progress_bar,
    read_rows,
    require_train_extra,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_infer.models.artifact import Artifact
    from stream_infer.models.dataset import Dataset

__all__ = ["command"]


_EXAMPLES = """\b
Examples:
  stream-infer train --data metrics.parquet --out models/metrics
  stream-infer train --data rows.parquet --out models/rows --entity-column host --features cpu,mem,load
"""


@click.command("train", epilog=_EXAMPLES)
@data_option(required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the artifact, such as models/smd; an artifact that is there is replaced in one step.",
)
@click.option(
    "--name", metavar="NAME", help="The model's name in scored events; default: the last part of --out."
)
@click.option(
    "--version",
    metavar="VERSION",
    help="Default: a digest of what was learned, so equal training gives equal versions.",
)
@click.option(
    "--train-split",
    metavar="VALUE",
    help="Train on rows with this value in the split column; default: train, or all rows without such a column.",
)
@click.option(
    "--family",
    type=click.Choice(["forecast", "pca", "autoencoder", "ensemble", "auto"]),
    default="forecast",
    show_default=True,
    help="forecast: a row from the rows before it; the best on the data measured, and the cheapest to run. pca: what "
    "principal components of 20-row windows leave over. autoencoder: the same with a small network (needs the extra "
    "torch to train, not to run). ensemble: forecast and pca together. auto: tries them on a part of the training "
    "rows, without labels.",
)
@click.option(
    "--threshold-quantile",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.985,
    show_default=True,
    help="Share of an entity's own training rows that stay under its threshold. Less finds more and alarms more often: "
    "docs/models.md has the figures.",
)
@click.option(
    "--missing",
    type=click.Choice(["impute", "reject"]),
    default="impute",
    show_default=True,
    help="An event that lacks a feature: take the entity's previous value, or reject the event.",
)
@click.option(
    "--min-rows",
    type=click.IntRange(min=10),
    default=100,
    show_default=True,
    help="Entities with fewer training rows are judged like ones never seen, by the fleet's profile.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of whatever is drawn while training.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where a network is trained; where it runs later is the worker's setting.",
)
@column_options
def command(data_path: Path, out: Path, **options: Any) -> None:
    """Train a model on a file of rows.

    Standardises each entity by its own training rows, learns one model for all entities, and sets each entity's scale
    and threshold. No labels are needed; where rows outside of the training split have some, the model is measured on
    them and the figures go into its manifest. Large data is sampled evenly, wide rows get shorter windows.

    Then: stream-infer score, stream-infer evaluate, or model.path in the worker's settings.
    """
    require_train_extra()
    from stream_infer.models.choice import train_chosen  # noqa: PLC0415 (slow)
    from stream_infer.models.families import AUTO  # noqa: PLC0415
    from stream_infer.models.train import Recipe, train  # noqa: PLC0415

    started = time.perf_counter()
    with progress_bar() as report:
        report("read", 0.0)
        data = read_rows(data_path, options)
        report("read", 1.0)
        recipe = Recipe(
            family=options["family"],
            threshold_quantile=options["threshold_quantile"],
            missing=options["missing"],
            entity_rows_min=options["min_rows"],
            seed=options["seed"],
            device=options["device"],
        )
        split = options["train_split"] or ("train" if data.splits else None)
        identity = (options["name"] or out.resolve().name, options["version"])
        make = train_chosen if recipe.family == AUTO else train
        artifact = make(data, data.rows_of(split), identity, recipe, report)
        artifact = _measured(artifact, data, split, report)
    artifact.save(out)
    _print_summary(artifact, out, time.perf_counter() - started)


def _measured(
    artifact: Artifact, data: Dataset, train_split: str | None, report: Callable[[str, float], None]
) -> Artifact:
    """The artifact with figures on labelled rows outside of the training split, where there are any."""
    import numpy as np  # noqa: PLC0415 (slow)

    from stream_infer.models.evaluate import evaluate  # noqa: PLC0415
    from stream_infer.models.loading import open_artifact  # noqa: PLC0415
    from stream_infer.models.offline import score_rows  # noqa: PLC0415
    from stream_infer.models.placement import Placement  # noqa: PLC0415
    from stream_infer.models.scored import scored_rows  # noqa: PLC0415

    if data.label is None or train_split is None:
        return artifact
    rows = np.flatnonzero((data.split != data.splits.index(train_split)) & (data.label >= 0))
    if not (data.label[rows] == 1).any():
        return artifact
    loaded = open_artifact(artifact, Placement())
    scores = score_rows(
        loaded.model, loaded.profiles, data, rows, progress=lambda done: report("measure", done)
    )
    figures = evaluate(scored_rows(data, scores)).to_dict()
    names = (
        "vus_pr",
        "auc_pr",
        "random_vus_pr",
        "random_auc_pr",
        "events",
        "events_found",
        "false_alarms_per_entity_day",
    )
    metrics = {f"labelled_{name}": float(str(figures[name])) for name in names if figures[name] is not None}
    manifest = artifact.manifest.model_copy(update={"metrics": artifact.manifest.metrics | metrics})
    return artifact.altered(manifest)


def _print_summary(artifact: Artifact, out: Path, seconds: float) -> None:
    manifest = artifact.manifest
    metrics = manifest.metrics
    click.echo(f"model {manifest.name} {manifest.version} in {out} ({seconds:.1f} s)")
    click.echo(
        f"  {metrics['train_rows']:.0f} rows of {metrics['train_entities']:.0f} entities, "
        f"{len(manifest.features)} features, {manifest.family}, window {manifest.window}, "
        f"terms {' + '.join(term.name for term in manifest.terms)}"
    )
    tried = {name: figure for name, figure in metrics.items() if name.startswith("chosen_by_vus_pr_")}
    if tried:
        figures = ", ".join(
            f"{name.removeprefix('chosen_by_vus_pr_')} {figure:.3f}" for name, figure in tried.items()
        )
        click.echo(f"  chosen by VUS-PR over made-up faults in the training rows: {figures}")
    if "labelled_vus_pr" in metrics:
        click.echo(
            f"  on labelled rows: VUS-PR {metrics['labelled_vus_pr']:.3f}, AUC-PR {metrics['labelled_auc_pr']:.3f} "
            f"(a random score: {metrics['labelled_random_vus_pr']:.3f}, {metrics['labelled_random_auc_pr']:.3f})"
        )
    click.echo(f"  sha256 {artifact.sha256}")
