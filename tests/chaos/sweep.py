"""Kills workers at every failpoint, so often with each group protocol, in as few runs as that takes."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.failpoints import POINTS
from tests.chaos.report import Report
from tests.chaos.rounds import LANES
from tests.chaos.run import run_scenario
from tests.chaos.scenarios_failpoints import fault_of

__all__ = ["missing", "struck_in", "sweep"]


def missing(struck: Counter[str], times: int) -> tuple[str, ...]:
    """The points at which workers have died less often than so many times, by faults counted."""
    return tuple(point for point in POINTS if struck[fault_of(point)] < times)


def struck_in(runs: Iterable[dict[str, Any]], protocol: str) -> Counter[str]:
    """The faults of finished runs (of ``merge``) with a protocol; those of a run that failed do not count."""
    found: Counter[str] = Counter()
    for run in runs:
        if run["protocol"] == protocol and run["passed"] and not run["mutant"]:
            found.update(run["faults"])
    return found


def sweep(
    runs: Sequence[dict[str, Any]],
    *,
    protocols: Sequence[str],
    times: int,
    minutes: float,
    duration_s: float,
    model: Path,
    out: Path,
    say: Callable[[str], None] = print,
) -> dict[str, tuple[str, ...]]:
    """Run the scenario ``failpoints`` for the points that lack; returns what still does, by protocol.

    ``runs`` are counted as done before. One cluster serves all runs, unless one of them fails to come to its end.
    """
    until, struck = time.monotonic() + 60 * minutes, {p: struck_in(runs, p) for p in protocols}
    number = 0
    while any(missing(struck[p], times) for p in protocols) and time.monotonic() < until:
        with Cluster(say) as cluster:
            broken = False
            while not broken and time.monotonic() < until:
                wanted = [p for p in protocols if missing(struck[p], times)]
                if not wanted:
                    break
                protocol, lane = wanted[number % len(wanted)], LANES[number // len(wanted) % len(LANES)]
                number += 1
                points = missing(struck[protocol], times)
                report = _run(cluster, protocol, lane, points, duration_s, model, out, say)
                broken = bool(report.error)
                if report.passed:
                    struck[protocol].update(report.faults)
                say(f"  {protocol}: {len(missing(struck[protocol], times))} of {len(POINTS)} points left")
    return {p: missing(struck[p], times) for p in protocols}


def _run(
    cluster: Cluster,
    protocol: str,
    lane: str,
    points: tuple[str, ...],
    duration_s: float,
    model: Path,
    out: Path,
    say: Callable[[str], None],
) -> Report:
    return run_scenario(
        "failpoints",
        cluster=cluster,
        model=model,
        seed=random.SystemRandom().randrange(1 << 31),
        protocol=protocol,
        duration_s=duration_s,
        out=out,
        say=say,
        lane=lane,
        points=points,
    )
