"""``python -m tests.chaos``: see the package."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from stream_infer.embedded.versions import LATEST, VERSIONS
from tests.chaos.cluster import Cluster
from tests.chaos.hunt import hunt
from tests.chaos.merge import merged, written
from tests.chaos.mutants import MUTANTS
from tests.chaos.page import PAGE, SOURCE, page
from tests.chaos.rounds import Rounds, all_rounds
from tests.chaos.run import run_scenario, trained_model
from tests.chaos.scenario import load_all

__all__: list[str] = []

_OUT = Path("chaos-reports")
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
@click.option("--protocol", type=click.Choice(["classic", "consumer"]), default="consumer")
@click.option("--kafka", type=click.Choice(VERSIONS), default=LATEST, help="Version of the brokers.")
@click.option("--duration", type=float, default=60.0, help="Seconds of faults.")
@click.option("--rate", type=float, default=None, help="Events a second; default: the scenario's.")
@_model
@_out
def run(
    name: str,
    seed: int | None,
    protocol: str,
    kafka: str,
    duration: float,
    rate: float | None,
    given: Path | None,
    out: Path,
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
            **extra,
        )
    sys.exit(not report.passed)


@main.command()
@click.option("--minutes", type=float, default=30.0, help="Begin no run after this.")
@click.option("--duration", type=float, default=60.0, help="Seconds of faults in each run.")
@click.option("--only", multiple=True, help="A scenario; may be repeated. Default: all of them.")
@click.option("--kafka", multiple=True, type=click.Choice(VERSIONS), help="May be repeated. Default: all.")
@_model
@_out
def rounds(
    minutes: float,
    duration: float,
    only: tuple[str, ...],
    kafka: tuple[str, ...],
    given: Path | None,
    out: Path,
) -> None:
    """All scenarios, with each protocol, again and again."""
    with _trained(given) as model:
        reports = Rounds(only or all_rounds(), kafka or VERSIONS, duration, out, model, click.echo).run(
            minutes
        )
    failed = [report for report in reports if not report.passed]
    click.echo(
        f"{len(reports)} runs, {sum(sum(r.faults.values()) for r in reports)} faults, "
        f"{sum(r.events['acked'] for r in reports)} events, {len(failed)} failed"
    )
    sys.exit(bool(failed))


@main.command()
@click.option("--minutes", type=float, default=60.0, help="How long the one run takes.")
@click.option("--protocol", type=click.Choice(["classic", "consumer"]), default="consumer")
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
