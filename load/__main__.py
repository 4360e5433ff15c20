"""``python -m load``: measurements of the worker beside its rivals."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import click

from load.beside import MISERIES, beside
from load.drain import drain
from load.paced import paced
from load.poison import poisoned
from load.recover import FAULTS, Load, recover
from load.replay import replay
from load.report import busy_share, save, save_recoveries, show_drains, show_paced, show_recoveries
from load.shadow import paired
from load.stand import Stand

_OUT = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("load/results/bench.json"), show_default=True
)
_PEERS = click.Choice(["worker", "plain"])


def _say(text: str) -> None:
    click.echo(text, err=True)


def _warm_broker(stand: Stand) -> None:
    """A broker's JVM needs some thousand small transactions before it is as fast as one that has run for a minute."""
    _say("warming the broker up")
    paced(stand, "worker", 2_000, 20)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the worker beside its rivals, on a Kafka started for it. Every run's results are checked.

    Figures hold for the machine they were taken on, and only while nothing else runs there; ratios of one call hold
    better than single figures.
    """


@main.command()
@click.option("--events", default=1_000_000, show_default=True, help="Events of each worker drain.")
@click.option(
    "--peer-events", default=150_000, show_default=True, help="Events of each rival's drain (it is slower)."
)
@click.option("--repeats", default=2, show_default=True, help="Pairs of drains.")
@click.option("--seconds", default=15.0, show_default=True, help="Length of each paced run.")
@_OUT
def bench(events: int, peer_events: int, repeats: int, seconds: float, out: Path) -> None:
    """Drain beside a plain loop, in turns, then latency at 2,000 and 10,000 events/s. Under six minutes."""
    busy, total = busy_share()
    with Stand(_say) as stand:
        drains = []
        for number in range(repeats):
            _say(f"drain {number + 1} of {repeats}: worker, then plain")
            drains += [drain(stand, "worker", events), drain(stand, "plain", peer_events)]
        runs = []
        _warm_broker(stand)
        for rate in (2_000, 10_000):
            _say(f"paced: {rate:,} events/s for {seconds:.0f} s")
            runs.append(paced(stand, "worker", rate, seconds))
    show_drains(drains)
    show_paced(runs)
    now_busy, now_total = busy_share()
    _say(
        f"the machine was busy {(now_busy - busy) / (now_total - total):.0%} of the time, this measurement included"
    )
    save(out, drains, runs)


@main.command("drain")
@click.option("--program", type=_PEERS, default="worker", show_default=True)
@click.option("--events", default=1_000_000, show_default=True)
@click.option("--repeats", default=1, show_default=True)
@click.option(
    "--mode", type=click.Choice(["exactly_once", "at_least_once"]), default="exactly_once", show_default=True
)
def drain_command(program: str, events: int, repeats: int, mode: str) -> None:
    """Work a full topic off."""
    with Stand(_say) as stand:
        show_drains([drain(stand, program, events, DELIVERY__MODE=mode) for _ in range(repeats)])


@main.command("paced")
@click.option("--program", type=_PEERS, default="worker", show_default=True)
@click.option("--rate", default=10_000.0, show_default=True, help="Events a second.")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--repeats", default=1, show_default=True)
def paced_command(program: str, rate: float, seconds: float, repeats: int) -> None:
    """Send at a steady rate and measure how late scores are."""
    with Stand(_say) as stand:
        _warm_broker(stand)
        show_paced([paced(stand, program, rate, seconds) for _ in range(repeats)])


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


@main.command("shadow")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), required=True, help="Parquet with a test split."
)
@click.option("--kills", default=0, show_default=True, help="Kill -9 worker and shadow so often on the way.")
def shadow_command(data: Path, kills: int) -> None:
    """Stream the test rows of a file through worker and shadow, see that each is paired once, then backtest them."""
    with Stand(_say, data) as stand:
        done = paired(stand, data, kills)
    click.echo(str(done))


@main.command("shadow-beside")
@click.option("--misery", "miseries", type=click.Choice(list(MISERIES)), multiple=True, help="Default: all.")
@click.option("--rate", default=5_000.0, show_default=True, help="Events a second.")
@click.option("--seconds", default=15.0, show_default=True, help="Length of each run.")
@click.option("--repeats", default=3, show_default=True, help="Pairs of runs: alone, then beside.")
def shadow_beside_command(miseries: tuple[str, ...], rate: float, seconds: float, repeats: int) -> None:
    """Measure the worker alone and beside a shadow in misery, in turns."""
    with Stand(_say) as stand:
        _warm_broker(stand)
        for misery in miseries or tuple(MISERIES):
            click.echo(str(beside(stand, misery, rate, seconds, repeats)))


@main.command("poison")
@click.option("--events", default=600_000, show_default=True, help="Records of each drain.")
@click.option("--share", default=0.1, show_default=True, help="Of them poison, in every second drain.")
@click.option("--repeats", default=3, show_default=True, help="Pairs of drains: clean, then poisoned.")
@click.option("--lane", type=click.Choice(["native", "ordinary"]), default="native", show_default=True)
def poison_command(events: int, share: float, repeats: int, lane: str) -> None:
    """Drain without poison and with it, in turns: what records that cannot be decoded cost."""
    ratios = []
    with Stand(_say) as stand:
        _warm_broker(stand)
        for _ in range(repeats):
            clean, bad = (poisoned(stand, events, part, KAFKA__LANE=lane) for part in (0.0, share))
            ratios.append(bad.events_per_second / clean.events_per_second)
            for run in (clean, bad):
                click.echo(
                    f"{run.share:4.0%} poison: {run.events_per_second:9,.0f} events/s, "
                    f"{run.cpu_us_per_event:.1f} us CPU/event"
                )
    click.echo(
        f"with {share:.0%} poison {median(ratios):.0%} of clean ({min(ratios):.0%} to {max(ratios):.0%})"
    )


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
    with Stand(_say, nodes=3 if "broker kill" in wanted else 1) as stand:
        _warm_broker(stand)
        found = recover(stand, under, wanted, repeats)
    show_recoveries(under, found)
    save_recoveries(out, under, found)


if __name__ == "__main__":
    main()
