"""``stream-infer evaluate``: scores against labels."""

from __future__ import annotations

import json
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
    from stream_infer.models.evaluate import Cause, EntityQuality, Quality, ScoredRows

__all__ = ["command"]


_EXAMPLES = """\b
Examples:
  stream-infer evaluate --scores scores.parquet
  stream-infer evaluate --data metrics.parquet --model models/metrics --root-causes causes.csv --json
  stream-infer evaluate --data metrics.parquet --family forecast --family pca --holdout
"""


@click.command("evaluate", epilog=_EXAMPLES)
@click.option("--scores", type=click.Path(path_type=Path), help="File written by stream-infer score.")
@data_option(required=False)
@click.option(
    "--model", "model_path", type=click.Path(path_type=Path), help="With --data: the model to score it with."
)
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(["forecast", "pca", "autoencoder", "ensemble"]),
    help="With --data: train this family and measure it; several times for one table of several.",
)
@click.option(
    "--holdout",
    is_flag=True,
    help="With --family: train on each half of the entities too, and measure on the half left out.",
)
@click.option(
    "--split",
    metavar="VALUE",
    help="With --data: the rows to score; default: test where the file has such rows.",
)
@click.option("--train-split", metavar="VALUE", help="With --family: the rows to train on; default: train.")
@click.option(
    "--threshold-quantile",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.985,
    show_default=True,
    help="With --family: as of stream-infer train.",
)
@click.option(
    "--root-causes",
    type=click.Path(path_type=Path),
    help="CSV of the features that experts marked per event: entity_id, seq_start, seq_end (exclusive), features "
    "(separated by blanks).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@column_options
def command(**options: Any) -> None:
    """Compare scores with labels.

    VUS-PR and AUC-PR per entity and their means, a random score's beside them; how many labelled events have at least
    one anomaly in them; how many alerts touch no event (false alarms), per entity and day; and, with
    --root-causes, how many of the marked features are among the three named at an event's highest score.
    With --family, the same for several kinds of model, in one table.
    Point-adjusted measures are left out: a random score does well in them.
    """
    require_train_extra()
    from stream_infer.models.evaluate import evaluate, read_causes  # noqa: PLC0415 (slow)

    causes = read_causes(options["root_causes"]) if options["root_causes"] else []
    if options["families"]:
        _compare_families(options, causes)
        return
    quality = evaluate(_scored(options), causes)
    if options["as_json"]:
        click.echo(json.dumps(quality.to_dict()))
    else:
        _print_table(quality)


def _compare_families(options: dict[str, Any], causes: list[Cause]) -> None:
    from stream_infer.cli.family_table import measure_families, print_families  # noqa: PLC0415 (slow)

    if not options["data_path"] or options["scores"] or options["model_path"]:
        raise click.UsageError("--family goes with --data FILE, and with neither --scores nor --model")
    measured, unseen = measure_families(options["data_path"], options, causes)
    if options["as_json"]:
        left = {family: quality.to_dict() for family, quality in unseen.items()}
        click.echo(json.dumps({"families": [one.to_dict() for one in measured], "left_out": left}))
    else:
        print_families(measured, unseen)


def _scored(options: dict[str, Any]) -> ScoredRows:
    """Read the scores, or make them."""
    from stream_infer.models import load_model  # noqa: PLC0415 (slow)
    from stream_infer.models.offline import score_rows  # noqa: PLC0415
    from stream_infer.models.scored import read_scored, scored_rows  # noqa: PLC0415

    scores_path, data_path, model_path = options["scores"], options["data_path"], options["model_path"]
    if scores_path and not (data_path or model_path):
        return read_scored(scores_path)
    if scores_path or not (data_path and model_path):
        raise click.UsageError(
            "give either --scores FILE, or --data FILE and --model DIRECTORY, or --data FILE and --family NAME"
        )
    loaded = load_model(model_path)
    data = read_rows(data_path, options, loaded.manifest.features)
    rows = data.rows_of(options["split"] or ("test" if "test" in data.splits else None))
    with progress_bar() as report:
        scores = score_rows(
            loaded.model, loaded.profiles, data, rows, progress=lambda done: report("score", done)
        )
    return scored_rows(data, scores)


def _print_table(quality: Quality) -> None:
    from rich.console import Console  # noqa: PLC0415 (slow)
    from rich.table import Table  # noqa: PLC0415

    table = Table("entity", box=None, pad_edge=False)
    for title in ("VUS-PR", "AUC-PR", "random VUS-PR", "random AUC-PR", "events found", "false alarms/day"):
        table.add_column(title, justify="right")
    for entity in quality.per_entity:
        alarms = entity.false_alarms / entity.days if entity.days else None
        table.add_row(entity.entity, *_cells(entity, alarms))
    table.add_section()
    table.add_row("mean", *_cells(quality, quality.false_alarms_per_entity_day))
    console = Console()
    console.print(table)
    console.print(
        f"{quality.rows} rows of {quality.entities} entities, {quality.rejected} rejected", highlight=False
    )
    if quality.root_cause_share is not None:
        console.print(
            f"root causes: {quality.root_cause_share:.2f} of min(3, marked) features are among the three named, "
            f"{quality.root_cause_events} events",
            highlight=False,
        )


def _cells(quality: Quality | EntityQuality, alarms: float | None) -> list[str]:
    values = (quality.vus_pr, quality.auc_pr, quality.random_vus_pr, quality.random_auc_pr)
    areas = ["-" if value is None else f"{value:.3f}" for value in values]
    return [*areas, f"{quality.events_found}/{quality.events}", "-" if alarms is None else f"{alarms:.1f}"]
