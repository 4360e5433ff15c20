"""``python -m tests.chaos``: see the package."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from stream_infer.embedded.versions import LATEST, VERSIONS, group_protocols
from tests.chaos.cluster import Cluster
from tests.chaos.hunt import hunt
from tests.chaos.merge import merged, written
from tests.chaos.mutants import MUTANTS
from tests.chaos.page import PAGE, SOURCE, page
from tests.chaos.rounds import LANES, Rounds, all_rounds
from tests.chaos.run import run_scenario, trained_model
from tests.chaos.scenario import load_all
from tests.chaos.sweep import sweep

__all__: list[str] = []

_OUT = Path("chaos-reports")
_PROTOCOLS = ("classic", "consumer")
_out = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=_OUT,
    show_default=True,
    help="Folder of reports; failed runs keep their logs.",
)
_model = click.option(
    "--model", "given", type=click.Path(path_type=Path), default=None, help="A trained one; default: train."
)


@contextmanager
def _trained(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="chaos-model-") as folder:
        click.echo("training a model")
        yield trained_model(Path(folder))


@click.group()
def main() -> None:
    """Fault tests of the worker."""


@main.command("list")
def list_scenarios() -> None:
    """Show the scenarios and their faults."""
    for name, found in load_all().items():
        click.echo(f"{name:24} {found.purpose}")
        click.echo(f"{'':24} {', '.join(found.faults)}")


@main.command()
@click.argument("name")
@click.option("--seed", type=int, default=None, help="Default: a random one, which is printed.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), default="consumer")
@click.option("--lane", type=click.Choice(["auto", *LANES]), default="auto", help="Of the workers.")
@click.option("--kafka", type=click.Choice(VERSIONS), default=LATEST, help="Version of the brokers.")
@click.option("--duration", type=float, default=60.0, help="Seconds of faults.")
@click.option("--rate", type=float, default=None, help="Events a second; default: the scenario's.")
@click.option("--keep", is_flag=True, help="Keep the logs of a run that passes, too.")
@_model
@_out
def run(
    name: str,
    seed: int | None,
    protocol: str,
    lane: str,
    kafka: str,
    duration: float,
    rate: float | None,
    given: Path | None,
    out: Path,
    *,
    keep: bool,
) -> None:
    """Run one scenario."""
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    extra = {} if rate is None else {"rate": rate}
    with _trained(given) as model, Cluster(version=kafka) as cluster:
        report = run_scenario(
            name,
            cluster=cluster,
            model=model,
            seed=seed,
            protocol=protocol,
            duration_s=duration,
            out=out,
            lane=lane,
            keep=keep,
            **extra,
        )
    sys.exit(not report.passed)


@main.command()
@click.option("--minutes", type=float, default=30.0, help="Begin no run after this.")
@click.option(
    "--duration", type=float, default=60.0, help="Seconds of faults in a run; relays take five times that."
)
@click.option("--only", multiple=True, help="A scenario; may be repeated. Default: all of them.")
@click.option(
    "--kafka", "versions", multiple=True, type=click.Choice(VERSIONS), help="May be repeated. Default: all."
)
@click.option(
    "--lane", "lanes", multiple=True, type=click.Choice(LANES), help="May be repeated. Default: both."
)
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(_PROTOCOLS), help="Default: both.")
@_model
@_out
def rounds(minutes: float, only: tuple[str, ...], given: Path | None, out: Path, **which: Any) -> None:
    """All scenarios, with each protocol, again and again; on each version of Kafka and both lanes by turns."""
    versions, protocols = which["versions"] or VERSIONS, which["protocols"] or _PROTOCOLS
    if not any(set(group_protocols(version)) & set(protocols) for version in versions):
        raise click.UsageError(f"Kafka {', '.join(versions)} does not speak {', '.join(protocols)}")
    with _trained(given) as model:
        reports = Rounds(
            only or all_rounds(),
            versions,
            which["lanes"] or LANES,
            protocols,
            which["duration"],
            out,
            model,
            click.echo,
        ).run(minutes)
    failed = [report for report in reports if not report.passed]
    click.echo(
        f"{len(reports)} runs, {sum(sum(r.faults.values()) for r in reports)} faults, "
        f"{sum(r.events['acked'] for r in reports)} events, {len(failed)} failed"
    )
    sys.exit(bool(failed))


@main.command("failpoints")
@click.option("--times", type=int, default=20, help="How often each point, with each protocol.")
@click.option("--minutes", type=float, default=120.0, help="Begin no run after this.")
@click.option("--duration", type=float, default=240.0, help="Seconds of each run.")
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(_PROTOCOLS), help="Default: both.")
@click.option(
    "--counted", multiple=True, type=click.Path(path_type=Path, exists=True), help="Reports of before."
)
@_model
@_out
def failpoints(
    protocols: tuple[str, ...], counted: tuple[Path, ...], given: Path | None, out: Path, **how: Any
) -> None:
    """Kill a worker at each failpoint so many times; points that were struck often enough are left out."""
    with _trained(given) as model:
        left = sweep(
            merged(counted),
            protocols=protocols or _PROTOCOLS,
            times=how["times"],
            minutes=how["minutes"],
            duration_s=how["duration"],
            model=model,
            out=out,
            say=click.echo,
        )
    for protocol, points in left.items():
        click.echo(f"{protocol}: {', '.join(points) or 'every point'} {'left' if points else 'done'}")
    sys.exit(any(left.values()))


@main.command()
@click.option("--minutes", type=float, default=60.0, help="How long the one run takes.")
@click.option("--protocol", type=click.Choice(_PROTOCOLS), default="consumer")
@click.option("--seed", type=int, default=None, help="Default: a random one, which is printed.")
@_model
@_out
def soak(minutes: float, protocol: str, seed: int | None, given: Path | None, out: Path) -> None:
    """One long composite run: nothing lost or doubled, and memory that stays flat."""
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    with _trained(given) as model, Cluster() as cluster:
        report = run_scenario(
            "soak",
            cluster=cluster,
            model=model,
            seed=seed,
            protocol=protocol,
            duration_s=60 * minutes,
            out=out,
        )
    sys.exit(not report.passed)


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-o", "target", type=click.Path(path_type=Path), default=SOURCE, show_default=True)
def merge(sources: tuple[Path, ...], target: Path) -> None:
    """Put reports (folders of them, or merged files) into one file; a run is taken once."""
    runs = merged(sources)
    target.write_text(written(runs), "utf-8")
    click.echo(f"{len(runs)} runs in {target}")


@main.command("page")
def write_page() -> None:
    """Write docs/reliability.md from docs/reliability.json."""
    PAGE.write_text(page(), "utf-8")


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MUTANTS)))
@click.option("--duration", type=float, default=40.0, help="Seconds of faults in each run.")
@click.option(
    "--tries", type=int, default=3, help="Runs of one mutant, each with another seed, until it is caught."
)
@_model
@_out
def mutants(names: tuple[str, ...], duration: float, tries: int, given: Path | None, out: Path) -> None:
    """Wrong workers: each must be caught by the scenario named for it. Without names: all of them."""
    wanted = names or tuple(MUTANTS)
    with _trained(given) as model:
        found = hunt(wanted, model=model, out=out, duration_s=duration, tries=tries, say=click.echo)
    click.echo(f"{len(found)} of {len(wanted)} mutants caught")
    sys.exit(len(found) < len(wanted))


if __name__ == "__main__":
    main()
