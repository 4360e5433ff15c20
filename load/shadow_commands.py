"""Commands about the shadow: each result paired once, a verdict that is right, no harm to the worker."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from load.again import PAUSES
from load.beside import CRASHING, DYING, MISERIES, Beside, apart, beside
from load.planted import CASES, Equal, Planted, equal_runs, planted, scored_pairs
from load.report import surroundings
from load.scenarios import warm_broker
from load.shadow import paired
from load.stand import Stand
from stream_infer.config.shadow import Shadow

__all__ = ["beside_command", "shadow_command", "verdicts_command"]

_CONSOLE = Console()
_TURN_S = 5.0
_DYING_TURN_S = 45.0
_BESIDE = {
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "events_per_s": "events/s",
    "broker_us": "broker, CPU us/event",
    "worker_us": "worker, CPU us/event",
}
_DATA = click.option(
    "--data", type=click.Path(exists=True, path_type=Path), required=True, help="Parquet with a test split."
)


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.command("shadow")
@_DATA
@click.option("--kills", default=0, show_default=True, help="Kill -9 worker and shadow so often on the way.")
def shadow_command(data: Path, kills: int) -> None:
    """Stream the test rows of a file through worker and shadow, see that each is paired once, then backtest them."""
    with Stand(_say, data) as stand:
        done = paired(stand, data, kills)
    click.echo(str(done))


@click.command("verdicts")
@_DATA
@click.option("--case", "cases", type=click.Choice(list(CASES)), multiple=True, help="Default: all.")
@click.option("--runs", default=200, show_default=True, help="Runs of two equal models.")
@click.option("--alpha", default=0.05, show_default=True, help="Error level of those runs.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("load/results/verdicts.json"), show_default=True
)
def verdicts_command(data: Path, cases: tuple[str, ...], runs: int, alpha: float, out: Path) -> None:
    """Plant a worse and a better candidate, see that the verdict finds them live and offline; then equal models."""
    with Stand(_say, data) as stand:
        found = []
        for case in cases or tuple(CASES):
            _say(f"a {case} candidate")
            found.append(planted(stand, data, case))
        _say(f"{runs} runs of two equal models")
        equal = equal_runs(scored_pairs(stand, data), runs, alpha)
    _show_planted(found, equal)
    _write(out, {"planted": [asdict(one) for one in found], "equal": asdict(equal)})
    if not (all(one.is_right for one in found) and equal.is_within):
        raise SystemExit(1)


@click.command("shadow-beside")
@click.option("--misery", "miseries", type=click.Choice(list(MISERIES)), multiple=True, help="Default: all.")
@click.option("--rate", default=5_000.0, show_default=True, help="Events a second.")
@click.option(
    "--seconds",
    type=float,
    help="Length of each turn; beside one that crash-loops a multiple of its own pause. [default: 5; where something "
    "dies and is started again 45, or the next multiple]",
)
@click.option("--pairs", default=5, show_default=True, help="Turns alone, and as many beside.")
@click.option("--drain-events", default=0, show_default=True, help="Work off so many, too, alone and beside.")
@click.option(
    "--restart-pause",
    "orchestrator",
    type=click.Choice(list(PAUSES)),
    default="kubernetes",
    show_default=True,
    help="How long what died stays away. kubernetes: at once, then 10, 20, 40 … 300 s; docker: 0.1, 0.2, 0.4 … 60 s.",
)
@click.option(
    "--own-pause",
    "own_pause_s",
    type=click.FloatRange(0, 3600),
    default=Shadow.model_fields["restart_pause_s"].default,
    show_default=True,
    help="shadow.restart_pause_s of one that crash-loops: how long it waits by itself; 0: not at all.",
)
@click.option("--apart", "is_apart", is_flag=True, help="Shadows on cores of their own (Linux, taskset).")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("load/results/beside.json"), show_default=True
)
def beside_command(
    miseries: tuple[str, ...],
    seconds: float | None,
    own_pause_s: float,
    out: Path,
    *,
    is_apart: bool,
    **plan: Any,
) -> None:
    """Measure the worker alone and beside a shadow in misery, in turns."""
    others = apart() if is_apart else ()
    with Stand(_say, kind="forecast") as stand:
        stand.shadow_cores = others
        warm_broker(stand)
        found = []
        for misery in miseries or tuple(MISERIES):
            _say(f"beside a shadow: {misery}")
            turn_s = seconds or _turn_s(misery, own_pause_s)
            found.append(beside(stand, misery, seconds=turn_s, own_pause_s=own_pause_s, **plan))
            _show_beside(found[-1])
            _write(out, {"apart": is_apart, "beside": [asdict(one) for one in found]})


def _turn_s(misery: str, own_pause_s: float) -> float:
    if misery not in DYING:
        return _TURN_S
    if misery != CRASHING or not own_pause_s:
        return _DYING_TURN_S
    return math.ceil(_DYING_TURN_S / own_pause_s) * own_pause_s


def _show_planted(found: Sequence[Planted], equal: Equal) -> None:
    table = Table(
        "candidate", "verdict", "live", "offline", "all equal", "first", "precision, recall", title="planted"
    )
    for one in found:
        sides = [f"{side['precision']:.2f}, {side['recall']:.2f}" for side in (one.primary, one.shadow)]
        equals, first = "yes" if one.equal else "no", one.first_verdict or "none"
        table.add_row(one.case, one.expected, one.live, one.offline, equals, first, " → ".join(sides))
    _CONSOLE.print(table)
    for one in found:
        _CONSOLE.print(f"{one.case}: {one.compared:,} of {one.events:,} events compared, {one.reason}")
    _CONSOLE.print(str(equal))


def _show_beside(one: Beside) -> None:
    """Medians of the turns and their spread."""
    pauses = f", pauses before restarts: {one.orchestrator}" if one.orchestrator else ""
    if one.own_pause_s is not None:
        pauses += f", its own: {one.own_pause_s:g} s"
    turns = len(one.values("p99_ms", beside=True))
    title = f"{one.misery}{pauses}; {turns} turns each, others took {one.strangers:.0%}"
    table = Table("", "alone", "beside", "change", title=title)
    for name, head in _BESIDE.items():
        alone, together = (_spread(one.values(name, beside=which)) for which in (False, True))
        table.add_row(head, alone, together, f"{one.change(name):+.1%}")
    if one.drain_change is not None:
        alone, together = (_spread(rates) for rates in zip(*one.drains, strict=True))
        table.add_row("drain, events/s", alone, together, f"{one.drain_change:+.1%}")
    _CONSOLE.print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**surroundings(), **content}, indent=2) + "\n", "utf-8")
    _CONSOLE.print(f"written to {path}")
