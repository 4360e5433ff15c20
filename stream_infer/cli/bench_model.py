"""``stream-infer bench-model``: how fast models alone are, side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.export import speed_lines

if TYPE_CHECKING:
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
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    models: tuple[Path, ...],
    device: Device,
    threads: int,
    seconds: float,
    server_url: str | None,
    *,
    as_json: bool,
) -> None:
    """Time models alone, side by side.

    By batch size: latency of a call, events a second.

    Windows are random numbers of the usual size; what a model makes of them does not change its speed.
    """
    import numpy as np  # noqa: PLC0415 (slow)

    from stream_infer.models.export.speed import BATCH_SIZES, speeds  # noqa: PLC0415
    from stream_infer.models.loading import load_model  # noqa: PLC0415
    from stream_infer.models.placement import Placement, Server  # noqa: PLC0415

    placements = {"": Placement(device, threads)}
    if server_url is not None:
        placements[f" at {server_url}"] = Placement(server=Server(server_url, timeout_s=_SERVER_TIMEOUT_S))
    timed = {}
    for path in models:
        for where, placement in placements.items():
            loaded = load_model(path, placement)
            shape = (max(BATCH_SIZES), loaded.layout.window, loaded.layout.features)
            windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            timed[f"{path}{where}"] = speeds(loaded.model, windows, seconds_each=seconds)
    if as_json:
        click.echo(json.dumps({name: [asdict(one) for one in found] for name, found in timed.items()}))
    else:
        click.echo("\n".join(speed_lines(timed)))
