"""``stream-infer export``: a model in another form, written only when it says the same."""

from __future__ import annotations

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
    from stream_infer.models.export.exported import Exported
    from stream_infer.models.export.speed import Speed

__all__ = ["command", "speed_lines"]

_EXAMPLES = """\b
Examples:
  stream-infer export --model models/smd --to onnx-int8 --data smd.parquet --split test --out models/smd-int8
"""
_TARGETS = ("onnx", "onnx-int8", "onnx-fp16", "torch", "tensorrt")


@click.command("export", epilog=_EXAMPLES)
@click.option(
    "--model", "model_path", type=click.Path(path_type=Path), required=True, help="The artifact to export."
)
@click.option("--to", "target", type=click.Choice(_TARGETS), required=True, help="The form it is to have.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of the new artifact.")
@data_option(required=True)
@click.option("--split", metavar="VALUE", help="Take only rows with this value in the split column.")
@click.option(
    "--max-difference",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="Largest difference of a score, in thresholds.",
)
@click.option(
    "--max-flips",
    type=click.FloatRange(0, 1),
    default=0.001,
    show_default=True,
    help="Share of the rows that may change sides of the threshold.",
)
@column_options
def command(model_path: Path, target: Any, out: Path, **options: Any) -> None:
    """Export a model to another form, and prove it first.

    Source and export score the same real rows. How far the scores lie apart, how many rows change sides of the
    threshold, and how fast both are on this machine stands in a table and in the new manifest. An export outside its
    bounds is refused: nothing is written.
    """
    require_train_extra()
    from stream_infer.models.artifact import Artifact  # noqa: PLC0415 (slow)
    from stream_infer.models.export.exported import export  # noqa: PLC0415
    from stream_infer.models.export.parity import Bounds  # noqa: PLC0415
    from stream_infer.models.rehearsal import rehearse  # noqa: PLC0415

    artifact = Artifact.load(model_path)
    rehearse(artifact, model_path)
    data = read_rows(options["data_path"], options, artifact.manifest.features)
    bounds = Bounds(options["max_difference"], options["max_flips"])
    with progress_bar() as report:
        made = export(artifact, target, data, data.rows_of(options["split"]), bounds, report)
    made.artifact.save(out)
    _say(made, out)


def _say(made: Exported, out: Path) -> None:
    manifest = made.artifact.manifest
    click.echo(f"model {manifest.name} {manifest.version} in {out}\n  {made.parity}")
    for line in speed_lines({"source": made.source, "export": made.target}):
        click.echo(line)
    click.echo(f"  sha256 {made.artifact.sha256}")


def speed_lines(timed: dict[str, list[Speed]]) -> list[str]:
    """A table of speeds: one line per batch size, three columns per model."""
    width = max(30, *(len(name) + 2 for name in timed))
    lines = ["  " + "batch".rjust(6) + "".join(f"{name:>{width}}" for name in timed)]
    lines.append("  " + " " * 6 + "".join(f"{'p50 ms / p99 ms / events/s':>{width}}" for _ in timed))
    for row in zip(*timed.values(), strict=True):
        cells = (f"{one.p50_ms:.3f} / {one.p99_ms:.3f} / {one.events_per_s:,.0f}" for one in row)
        lines.append(f"  {row[0].batch_events:>6}" + "".join(f"{cell:>{width}}" for cell in cells))
    return lines
