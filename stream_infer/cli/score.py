"""``stream-infer score``: rows and a model in, scores out, without Kafka."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from stream_infer.cli.data_options import (
    column_options,
    data_option,
    progress_bar,
    read_rows,
    require_train_extra,
)

__all__ = ["command"]


_EXAMPLES = """\b
Example:
  stream-infer score --data metrics.parquet --model models/metrics --split test --out scores.parquet
  stream-infer evaluate --scores scores.parquet
"""


@click.command("score", epilog=_EXAMPLES)
@data_option(required=True)
@click.option(
    "--model",
    "model_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the model artifact.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Parquet file to write.")
@click.option(
    "--split",
    metavar="VALUE",
    help="Score only rows with this value in the split column, windows starting empty at the first of them; default: "
    "all rows in time order, so that windows run on from the training rows.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="Rows of one model call.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "tensorrt"]),
    default="cpu",
    show_default=True,
    help="Where it runs.",
)
@column_options
def command(data_path: Path, model_path: Path, out: Path, **options: Any) -> None:
    """Score a file of rows with a model.

    The same code as the worker's: a stream of the same events gives the same scores. The output has entity, seq, time,
    split and label of the input, and score, threshold, is_anomaly, and for each row, anomaly or not, the features
    with the largest shares of the score (top, share).
    """
    require_train_extra()
    from stream_infer.models import load_model  # noqa: PLC0415 (slow)
    from stream_infer.models.offline import score_rows  # noqa: PLC0415
    from stream_infer.models.placement import Placement  # noqa: PLC0415
    from stream_infer.models.scored import write_scored  # noqa: PLC0415

    loaded = load_model(model_path, Placement(options["device"], batch_max=options["batch_size"]))
    started = time.perf_counter()
    with progress_bar() as report:
        data = read_rows(data_path, options, loaded.manifest.features)
        rows = data.rows_of(options["split"])
        scores = score_rows(
            loaded.model,
            loaded.profiles,
            data,
            rows,
            options["batch_size"],
            lambda done: report("score", done),
        )
    write_scored(out, data, scores)
    seconds = time.perf_counter() - started
    click.echo(
        f"{len(rows)} rows scored by {loaded.manifest.name} {loaded.manifest.version} into {out} ({seconds:.1f} s): "
        f"{int(scores.is_anomaly.sum())} anomalies, {scores.rejected_count} rejected"
    )
