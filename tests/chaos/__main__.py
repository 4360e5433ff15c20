"""``python -m tests.chaos``: see the package."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.cluster import Cluster
from tests.chaos.run import run_scenario, trained_model
from tests.chaos.scenario import load_all

__all__: list[str] = []


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
@click.option("--duration", type=float, default=60.0, help="Seconds of faults.")
@click.option("--rate", type=float, default=None, help="Events a second; default: the scenario's.")
@click.option(
    "--model", "given", type=click.Path(path_type=Path), default=None, help="A trained one; default: train."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of reports; failed runs keep their logs.",
)
def run(
    name: str,
    seed: int | None,
    protocol: str,
    duration: float,
    rate: float | None,
    given: Path | None,
    out: Path | None,
) -> None:
    """Run one scenario."""
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    extra = {} if rate is None else {"rate": rate}
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, Cluster() as cluster:
        model = given or trained_model(Path(folder))
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


if __name__ == "__main__":
    main()
