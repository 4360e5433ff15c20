"""``python -m load``: measurements of the worker beside its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click

from load.figures import shown
from load.measurement import Measurement
from load.plan import Plan
from load.planning import capacity_command, costs_command, gpu_command, stages_command
from load.recover import FAULTS, Load, recover
from load.replay import replay
from load.report import save, save_recoveries, show, show_recoveries
from load.rivals import RIVALS
from load.scenarios import RIVALLED, SCENARIOS, Scenario, warm_broker
from load.shadow_commands import beside_command, shadow_command, verdicts_command
from load.stand import ModelKind, Stand
from load.swap import memory, swapped

_RESULTS = Path("load/results")
_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="JSON file; a page with plots is written beside it. [default: load/results/NAME.json]",
)
_BESIDE = (
    click.option(
        "--rival-events", default=150_000, show_default=True, help="Of each drain of a rival (slower)."
    ),
    click.option(
        "--rival",
        "rivals",
        multiple=True,
        type=click.Choice([*RIVALS, "none"]),
        default=["plain"],
        show_default=True,
    ),
    click.option(
        "--mode",
        "modes",
        multiple=True,
        type=click.Choice(["exactly_once", "at_least_once"]),
        default=["exactly_once"],
        show_default=True,
        help="What the worker promises; several are taken in turns, and compared with the first.",
    ),
)
"""Of scenarios that rivals take part in."""
_MODEL = click.option(
    "--model",
    "kind",
    type=click.Choice(get_args(ModelKind)),
    default="autoencoder",
    show_default=True,
    help="What all programs score with.",
)


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the worker beside its rivals, on a Kafka started for it. Every run's results are checked.

    Figures hold for the machine they were taken on, and only while nothing else runs there; ratios of one call hold
    better than single figures.
    """


@main.command()
@_MODEL
@_OUT
def bench(kind: ModelKind, out: Path | None) -> None:
    """Drain, paced, idle and restore beside a plain loop. Under six minutes."""
    plan = Plan(seconds=10)
    with Stand(_say, kind=kind) as stand:
        taken = _take(stand, "drain", plan)
        taken += _take(stand, "paced", replace(plan, repeats=1))
        taken += _take(stand, "idle", replace(plan, repeats=1))
        taken += _take(stand, "restore", replace(plan, repeats=1, events=100_000))
    _tell(taken, out or _RESULTS / "bench.json")


@main.command()
@click.option("--repeats", default=2, show_default=True)
@_MODEL
@_OUT
def peers(kind: ModelKind, out: Path | None, repeats: int) -> None:
    """Drain and paced beside every rival that is installed (`make bench-peers` installs them)."""
    plan = Plan(repeats=repeats, seconds=10, rivals=_present(list(RIVALS)))
    with Stand(_say, kind=kind) as stand:
        taken = _take(stand, "drain", plan)
        taken += _take(stand, "paced", replace(plan, repeats=1))
    _tell(taken, out or _RESULTS / "peers.json")


def _scenario(name: str, scenario: Scenario) -> click.Command:
    @click.command(name, help=(scenario.__doc__ or "").strip())
    @click.option("--repeats", default=2, show_default=True, help="How often all runs are taken, in turns.")
    @click.option(
        "--events", default=1_000_000, show_default=True, help="Events of each drain of the worker."
    )
    @click.option("--seconds", default=15.0, show_default=True, help="Length of each paced or idle run.")
    @click.option(
        "--set", "settings", multiple=True, metavar="SECTION__KEY=VALUE", help="A setting of the worker."
    )
    @_MODEL
    @_OUT
    def command(
        kind: ModelKind, out: Path | None, settings: tuple[str, ...], rivals: Sequence[str] = (), **sizes: Any
    ) -> None:
        given = dict(setting.split("=", 1) for setting in settings)
        if "modes" in sizes and "DELIVERY__MODE" in given:
            raise click.UsageError("--mode says what the worker promises, in the place of DELIVERY__MODE")
        plan = Plan(rivals=_present(rivals), settings=given, **sizes)
        with Stand(_say, kind=kind) as stand:
            taken = _take(stand, name, plan)
        _tell(taken, out or _RESULTS / f"{name}.json")

    for option in _BESIDE if name in RIVALLED else ():
        command = option(command)
    return command


def _present(rivals: Sequence[str]) -> tuple[str, ...]:
    """Those that can run here; of the others it is said why not."""
    lacking = {name: RIVALS[name].lacks() for name in rivals if name in RIVALS}
    for name, lack in lacking.items():
        if lack:
            _say(f"without {name}: {lack}")
    return tuple(name for name, lack in lacking.items() if not lack)


def _take(stand: Stand, name: str, plan: Plan) -> list[Measurement]:
    taken = []
    for one in SCENARIOS[name](stand, plan):
        figures = ", ".join(
            f"{figure.title} {figure.text(one.figures[figure.name])}" for figure in shown([one])[:4]
        )
        _say(f"{one.scenario}, {one.case}, {one.program}: {figures}{'' if one.quiet else ' (not quiet)'}")
        taken.append(one)
    return taken


def _tell(taken: Sequence[Measurement], out: Path) -> None:
    show(taken)
    save(out, taken)


for _name, _of in SCENARIOS.items():
    main.add_command(_scenario(_name, _of))
for _command in (
    costs_command,
    capacity_command,
    gpu_command,
    stages_command,
    shadow_command,
    verdicts_command,
    beside_command,
):
    main.add_command(_command)


@main.command("replay")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), required=True, help="Parquet with a test split."
)
@click.option("--kills", default=0, show_default=True, help="Kill -9 the worker so often on the way.")
def replay_command(data: Path, kills: int) -> None:
    """Stream the test rows of a file and compare every score with `stream-infer score`."""
    with Stand(_say, data) as stand:
        done = replay(stand, data, kills)
    click.echo(
        f"{done.scored:,} of {done.events:,} events scored once, {done.kills} kills, {done.seconds:.0f} s; "
        f"largest difference to offline scores {done.worst:.2g}"
    )


@main.command("swap")
@click.option(
    "--rate",
    "rates",
    type=float,
    default=(2_000.0, 10_000.0),
    multiple=True,
    show_default=True,
    help="Events a second.",
)
@click.option("--swaps", default=20, show_default=True, help="Of each paced run.")
@click.option("--every", default=2.5, show_default=True, help="Seconds from one swap to the next.")
@click.option("--memory-swaps", default=100, show_default=True, help="Then so many more, for memory.")
def swap_command(rates: tuple[float, ...], swaps: int, every: float, memory_swaps: int) -> None:
    """Swap the model in mid-stream, and measure how late scores are around the swaps and what memory they leave."""
    with Stand(_say, kind="forecast") as stand:
        warm_broker(stand)
        for rate in rates:
            click.echo(str(swapped(stand, rate, swaps, every)))
        if memory_swaps:
            click.echo(str(memory(stand, memory_swaps)))


@main.command("recover")
@click.option("--fault", "faults", type=click.Choice(list(FAULTS)), multiple=True, help="Default: all.")
@click.option("--protocol", type=click.Choice(["consumer", "classic"]), default="consumer", show_default=True)
@click.option(
    "--mode", type=click.Choice(["exactly_once", "at_least_once"]), default="exactly_once", show_default=True
)
@click.option("--rate", default=20_000.0, show_default=True, help="Events a second.")
@click.option("--partitions", default=12, show_default=True)
@click.option("--workers", default=3, show_default=True, help="With the one that joins.")
@click.option("--settle", default=15.0, show_default=True, help="Seconds from one fault to the next.")
@click.option("--repeats", default=5, show_default=True, help="How often each fault strikes.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("load/results/recover.json"), show_default=True
)
def recover_command(faults: tuple[str, ...], repeats: int, out: Path, settle: float, **load: Any) -> None:
    """Strike workers and brokers under a steady load and measure how long scores stay away, and how late they come."""
    wanted = faults or tuple(FAULTS)
    under = Load(settle_s=settle, **load)
    with Stand(_say, kind="forecast", nodes=3 if "broker kill" in wanted else 1) as stand:
        warm_broker(stand)
        found = recover(stand, under, wanted, repeats)
    show_recoveries(under, found)
    save_recoveries(out, under, found)


if __name__ == "__main__":
    main()
