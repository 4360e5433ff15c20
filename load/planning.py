"""Commands that plan rather than compare: what costs are, what a workload takes, what a GPU gives."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from load.capacity import Limits, Need, Workload, need, one_machine_per_s, strains
from load.costs import fit
from load.measurement import Measurement
from load.plan import Plan
from load.report import read, save, show
from load.scenarios import SCENARIOS
from load.stand import Stand
from stream_infer.models.placement import Device

__all__ = ["capacity_command", "costs_command", "gpu_command", "stages_command"]

COSTS = Path(__file__).with_name("costs.json")
_CONSOLE = Console(width=None if sys.stdout.isatty() else 170)
_SIZES = {
    "width": Plan(repeats=2, events=400_000, rivals=()),
    "paced": Plan(repeats=1, seconds=10, rivals=()),
    "restore": Plan(repeats=1, rivals=()),
    "keys": Plan(repeats=1, events=1_000_000, rivals=()),
    "workers": Plan(repeats=1, events=2_000_000, rivals=()),  # fewer are over before all have begun
}


@click.command("costs")
@click.option(
    "--only", multiple=True, type=click.Choice(list(_SIZES)), help="Measure these anew and keep the rest."
)
@click.option("--out", type=click.Path(path_type=Path), default=COSTS, show_default="load/costs.json")
def costs_command(only: tuple[str, ...], out: Path) -> None:
    """Measure what the capacity model is fitted to. Some minutes, on a machine that has nothing else to do."""
    kept = [one for one in (read(out) if out.exists() else []) if only and one.scenario not in only]
    with Stand(lambda text: click.echo(text, err=True)) as stand:
        for name in only or _SIZES:
            kept += _measured(SCENARIOS[name](stand, _SIZES[name]))
            save(out, kept)
    show(kept)


def _measured(runs: Iterator[Measurement]) -> list[Measurement]:
    taken = []
    for one in runs:
        click.echo(f"{one.scenario}, {one.case}", err=True)
        taken.append(one)
    return taken


def _settings_of(of: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One option per number of a class of settings."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for one in reversed(fields(of)):
            option = "--" + one.name.replace("_", "-")
            missing = one.default if isinstance(one.default, int | float) else None
            kind = int if isinstance(missing, int) else float
            required = of is Workload and one.name == "events_per_s"
            command = click.option(option, type=kind, default=missing, required=required, show_default=True)(
                command
            )
        return command

    return decorate


@click.command("capacity")
@_settings_of(Workload)
@_settings_of(Limits)
@click.option(
    "--one-machine",
    "machine_cores",
    type=click.IntRange(min=1),
    metavar="CORES",
    help="Say, too, how fast workers are at most that share a machine of so many cores with their broker.",
)
@click.option(
    "--costs", type=click.Path(exists=True, path_type=Path), default=COSTS, show_default="load/costs.json"
)
def capacity_command(costs: Path, machine_cores: int | None, **given: float) -> None:
    """Say what a workload takes, from measured costs and stated limits, and what breaks first."""
    load = Workload(**{one.name: given[one.name] for one in fields(Workload)})
    limits = Limits(**{one.name: given[one.name] for one in fields(Limits)})
    fitted = fit(read(costs))
    found = need(load, fitted, limits)
    for line in told(load, found):
        click.echo(line)
    if machine_cores:
        click.echo(
            f"\nworkers, each bound to a core, on one machine of {machine_cores} cores with their broker:"
        )
        for line in together(found.event_us, fitted.broker_us, machine_cores):
            click.echo(f"  {line}")
    click.echo("\nnearest to its limit first:")
    for one in strains(found, limits):
        click.echo(f"  {one.share:8.1%}  {one.what}" + (f"  BREAKS: {one.cure}" if one.share > 1 else ""))


def told(load: Workload, found: Need) -> list[str]:
    """A workload's needs, a line each."""
    gpus = "on CPUs" if found.gpus is None else f"on {found.gpus:,} GPU{'s' if found.gpus > 1 else ''}"
    return [
        f"{load.events_per_s:,.0f} events/s of {load.event_bytes:,} bytes and {load.features} features, "
        f"{load.entities:,} entities; the model {gpus}",
        f"a worker       {found.event_us:.2f} us of CPU an event under load, {found.events_per_worker:,.0f} events/s, "
        f"{found.core_share:.0%} of its core",
        f"workers        {found.workers:,} (a core each)",
        f"partitions     {found.partitions:,} of the input, and as many of each of the other three topics",
        f"brokers        {found.brokers:,}: {found.in_bytes_per_s / 1e6:,.0f} MB/s in (replicas included), "
        f"{found.out_bytes_per_s / 1e6:,.0f} MB/s out",
        f"transactions   {found.transactions_per_s:,.0f} a second",
        f"state          {found.state_bytes / 1e9:,.2f} GB in all, "
        f"{found.state_bytes_per_worker / 1e6:,.1f} MB a worker, "
        f"{found.state_bytes_per_s / 1e6:,.1f} MB/s to its topic",
        f"restore        {found.restore_s:.1f} s of one worker's share",
    ]


def together(worker_us: float, broker_us: float, cores: int) -> list[str]:
    """How fast one worker and more are at most on one machine with their broker, a line each."""
    lines = []
    for count in range(1, cores + 1):
        rate = one_machine_per_s(count, cores, worker_us, broker_us)
        times = rate / one_machine_per_s(1, cores, worker_us, broker_us)
        workers = f"{count} worker{'s' if count > 1 else ''}"
        lines.append(f"{workers:11}  {rate:,.0f} events/s at most, {times:.2f} times one worker's")
    return lines


@click.command("gpu")
@click.option("--device", type=click.Choice(get_args(Device)), default="cuda", show_default=True)
@click.option(
    "--model", type=click.Path(exists=True, path_type=Path), help="An artifact. [default: the autoencoder]"
)
@click.option(
    "--batch", "batches", type=int, multiple=True, help="Sizes of batches to try. [default: 64 to 16,384]"
)
@click.option("--seconds", default=2.0, show_default=True, help="Time for each size.")
def gpu_command(device: Device, model: Path | None, batches: Sequence[int], seconds: float) -> None:
    """Compare the worker's scoring stage with the bare model on the same device."""
    from load.autoencoder import autoencoder  # noqa: PLC0415 - half a second, and not for an artifact of one's own
    from load.events import USUAL  # noqa: PLC0415
    from load.gpu_bench import BATCHES, compare, summary  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = Path(folder) / "autoencoder"
            autoencoder(USUAL).save(model)
        timed = compare(model, device, batches or BATCHES, seconds)
    other = "in parts rows/s" if device == "cpu" else "in one run rows/s"
    table = Table(
        "batch", "bare rows/s", "stage rows/s", "share", other, "bare p99 ms", "stage p99 ms", title=device
    )
    for one in timed:
        share = f"{one.stage_per_s / one.bare_per_s:.0%}"
        table.add_row(
            f"{one.batch:,}",
            f"{one.bare_per_s:,.0f}",
            f"{one.stage_per_s:,.0f}",
            share,
            f"{one.other_per_s:,.0f}",
            f"{one.bare_p99_ms:.2f}",
            f"{one.stage_p99_ms:.2f}",
        )
    _CONSOLE.print(table)
    click.echo(summary(timed))


@click.command("stages")
@click.option("--entities", type=int, multiple=True, help="Numbers of entities. [default: 200 to 1,000,000]")
@click.option("--batch", "batches", type=int, multiple=True, help="Sizes of batches. [default: 30 to 2,000]")
@click.option("--turns", default=8, show_default=True, help="How often each is timed.")
def stages_command(entities: Sequence[int], batches: Sequence[int], turns: int) -> None:
    """CPU time of each stage between poll and commit, in this process and without Kafka."""
    from load.stage_costs import BATCHES, COUNTS, STAGES, stage_costs  # noqa: PLC0415

    taken = stage_costs(
        entities or COUNTS, batches or BATCHES, turns, lambda text: click.echo(text, err=True)
    )
    sums = ("all", "look-up, window", "copies of rows")
    table = Table("entities", "batch", *STAGES, *sums, title="us/event, CPU of the thread")
    for one in taken:
        table.add_row(*one.row)
    _CONSOLE.print(table)
