"""``stream-infer bench-model``: how fast models alone are, side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from stream_infer.cli.export import speed_lines

__all__ = ["command"]


@click.command("bench-model")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of one call on the CPU."
)
@click.option(
    "--seconds", type=click.FloatRange(0.01, 60), default=0.5, show_default=True, help="For each size."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(models: tuple[Path, ...], device: str, threads: int, seconds: float, *, as_json: bool) -> None:
    """Time models alone, side by side.

    By batch size: latency of a call, events a second.

    Windows are random numbers of the usual size; what a model makes of them does not change its speed.
    """
    import numpy as np  # noqa: PLC0415 (slow)

    from stream_infer.models.export.speed import BATCH_SIZES, speeds  # noqa: PLC0415
    from stream_infer.models.loading import load_model  # noqa: PLC0415
    from stream_infer.models.placement import Placement  # noqa: PLC0415

    timed = {}
    for path in models:
        loaded = load_model(path, Placement(device, threads))  # type: ignore[arg-type]
        shape = (max(BATCH_SIZES), loaded.layout.window, loaded.layout.features)
        windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        timed[str(path)] = speeds(loaded.model, windows, seconds_each=seconds)
    if as_json:
        click.echo(json.dumps({name: [asdict(one) for one in found] for name, found in timed.items()}))
    else:
        click.echo("\n".join(speed_lines(timed)))
