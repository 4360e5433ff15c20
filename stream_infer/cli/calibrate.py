"""``stream-infer calibrate``: new thresholds from recent data, without training and without labels."""

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
    import numpy as np
    from numpy.typing import NDArray

    from stream_infer.models.artifact import Artifact

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  stream-infer calibrate --model models/smd --data last_week.parquet --out models/smd
  stream-infer calibrate --model models/smd -c worker.toml --since 7d --out models/smd-new
"""


@click.command("calibrate", epilog=_EXAMPLES)
@click.option(
    "--model",
    "model_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the model artifact.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the new artifact; an artifact that is there is replaced in one step.",
)
@data_option(required=False)
@click.option(
    "--split", metavar="VALUE", help="With --data: take only rows with this value in the split column."
)
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="In the place of --data: the worker's settings; its scored topic is read.",
)
@click.option(
    "--since",
    metavar="TIME",
    default="7d",
    show_default=True,
    help="With --config: scores newer than this: 15m, 2h, 7d ago, or 2026-01-31T12:00.",
)
@click.option(
    "--threshold-quantile",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.985,
    show_default=True,
    help="Share of an entity's rows that stay under its threshold.",
)
@click.option(
    "--min-rows",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Entities with fewer rows keep their threshold.",
)
@click.option("--version", metavar="VERSION", help="Default: a digest of model and profiles.")
@column_options
def command(model_path: Path, out: Path, **options: Any) -> None:
    """Set a model's thresholds anew by recent data.

    When data drifts, scores rise or fall and with them the alarms. This brings the share of alarmed rows back to what
    was asked for. The model itself stays as it is: if its scores have become poor, train again.

    Rows come from a file, which is scored with the model, or from the scored topic of a running worker: the scores that
    this very version of the model gave.
    """
    from stream_infer.models.artifact import Artifact  # noqa: PLC0415 (slow)
    from stream_infer.models.recalibrate import recalibrated  # noqa: PLC0415

    if (options["data_path"] is None) == (options["config_path"] is None):
        raise click.UsageError("give either --data FILE or --config FILE")
    artifact = Artifact.load(model_path)
    scores = _of_file(model_path, options) if options["data_path"] else _of_topic(artifact, options)
    made = recalibrated(artifact, *scores, options["threshold_quantile"], options["min_rows"])
    new = made.artifact
    if options["version"]:
        manifest = new.manifest.model_copy(update={"version": options["version"]})
        new = new.altered(type(manifest).from_json(manifest.to_json(), "--version"))
    new.save(out)
    click.echo(f"model {new.manifest.name} {new.manifest.version} in {out}, from {artifact.manifest.version}")
    click.echo(f"  {len(scores[2])} rows, new thresholds of {made.entities} entities")
    click.echo(
        f"  rows over the threshold: {made.alarm_share_before:.2%} before, {made.alarm_share_after:.2%} now"
    )
    click.echo(f"  sha256 {new.sha256}")


def _of_file(
    model_path: Path, options: dict[str, Any]
) -> tuple[tuple[bytes, ...], NDArray[np.int64], NDArray[np.float64]]:
    """Score the file's rows with the model."""
    require_train_extra()
    import numpy as np  # noqa: PLC0415 (slow)

    from stream_infer.models import load_model  # noqa: PLC0415
    from stream_infer.models.offline import score_rows  # noqa: PLC0415

    loaded = load_model(model_path)
    data = read_rows(options["data_path"], options, loaded.manifest.features)
    rows = data.rows_of(options["split"])
    with progress_bar() as report:
        scores = score_rows(
            loaded.model, loaded.profiles, data, rows, progress=lambda done: report("score", done)
        )
    names = tuple(name.encode() for name in data.entities)
    return names, data.entity[rows].astype(np.int64), scores.score


def _of_topic(
    artifact: Artifact, options: dict[str, Any]
) -> tuple[tuple[bytes, ...], NDArray[np.int64], NDArray[np.float64]]:
    """Read the scores that the worker's scored topic has of this version."""
    from stream_infer.avro.decoder import Decoder  # noqa: PLC0415 (slow)
    from stream_infer.avro.fields import Fields  # noqa: PLC0415
    from stream_infer.build.events import scored_schemas_of  # noqa: PLC0415
    from stream_infer.cli.options import load_config  # noqa: PLC0415
    from stream_infer.cli.rejects import parse_since  # noqa: PLC0415
    from stream_infer.recent_scores import recent_scores  # noqa: PLC0415
    from stream_infer.topic_reader import TopicReader  # noqa: PLC0415

    config = load_config(options["config_path"])
    schemas = scored_schemas_of(config)
    fields = Fields(("score",), 1, "entity", None, "model_version")
    kafka = config.kafka
    topic, setting = config.output.scored_topic, "output.scored_topic"
    reader = TopicReader.open(
        kafka.client_settings(), kafka.consumer_settings(), topic, setting, timeout_s=10
    )
    try:
        since_ms = parse_since(options["since"], time.time())
        return recent_scores(reader, Decoder(schemas, fields), artifact.manifest.version, since_ms)
    finally:
        reader.close()
