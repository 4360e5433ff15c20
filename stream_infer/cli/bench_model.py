"""``stream-infer bench-model``: how fast models alone are, and how far their scores lie apart, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
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
from stream_infer.cli.export import speed_lines

if TYPE_CHECKING:
    from stream_infer.models.export.parity import Parity
    from stream_infer.models.export.speed import Speed
    from stream_infer.models.loading import LoadedModel
    from stream_infer.models.placement import Device

__all__ = ["command"]

_SERVER_TIMEOUT_S = 30.0


@click.command("bench-model")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of one call on the CPU."
)
@click.option(
    "--seconds", type=click.FloatRange(0.01, 60), default=0.5, show_default=True, help="For each size."
)
@click.option(
    "--server-url",
    metavar="URL",
    help="Time a server that runs the model too (Open Inference Protocol, http:// or grpc://).",
)
@data_option(required=False)
@click.option("--split", metavar="VALUE", help="Of the data only rows with this value in the split column.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@column_options
def command(
    models: tuple[Path, ...],
    device: Device,
    threads: int,
    seconds: float,
    server_url: str | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Time models alone, side by side.

    By batch size: latency of a call, events a second. Windows are random numbers of the usual size; what a model makes
    of them does not change its speed. With --data all of them also score its rows, and what each says is held against
    what the first one says.
    """
    from stream_infer.models.loading import load_model  # noqa: PLC0415 (slow)
    from stream_infer.models.placement import Placement, Server  # noqa: PLC0415

    placements = {"": Placement(device, threads)}
    if server_url is not None:
        placements[f" at {server_url}"] = Placement(server=Server(server_url, timeout_s=_SERVER_TIMEOUT_S))
    opened = {
        f"{path}{where}": load_model(path, placement)
        for path in models
        for where, placement in placements.items()
    }
    timed = {name: _timed(loaded, seconds) for name, loaded in opened.items()}
    apart = _apart(opened, options) if options["data_path"] else {}
    if as_json:
        told = {
            name: {"speeds": [asdict(one) for one in found]}
            | ({"beside_first": asdict(apart[name])} if name in apart else {})
            for name, found in timed.items()
        }
        click.echo(json.dumps(told))
        return
    click.echo("\n".join(speed_lines(timed)))
    for name, parity in apart.items():
        click.echo(f"  {name}: {parity}")


def _timed(loaded: LoadedModel, seconds: float) -> list[Speed]:
    import numpy as np  # noqa: PLC0415 (slow)

    from stream_infer.models.export.speed import BATCH_SIZES, speeds  # noqa: PLC0415

    shape = (max(BATCH_SIZES), loaded.layout.window, loaded.layout.features)
    windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return speeds(loaded.model, windows, seconds_each=seconds)


def _apart(opened: Mapping[str, LoadedModel], options: dict[str, Any]) -> dict[str, Parity]:
    """How far each but the first one is from the first one, on the rows of the data."""
    require_train_extra()
    from stream_infer.models.export.exported import scored_by  # noqa: PLC0415 (slow)
    from stream_infer.models.export.parity import Parity  # noqa: PLC0415

    (first, source), *others = opened.items()
    data = read_rows(options["data_path"], options, source.manifest.features)
    rows = data.rows_of(options["split"])
    with progress_bar() as report:
        wanted = scored_by(source, first, data, rows, report)
        return {
            name: Parity.of(wanted.score, scored_by(loaded, name, data, rows, report).score, wanted.threshold)
            for name, loaded in others
        }
