"""Runs mutants, each in the scenario that must catch it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.report import Report
from tests.chaos.run import run_scenario
from tests.chaos.scenario import load_all

__all__ = ["caught", "hunt", "hunt_one"]


def caught(mutant: Mutant, report: Report) -> bool:
    """Whether the run found what it must find; any other finding does not count.

    Nor does what is missing because the workers were not done when they were judged.
    """
    unfinished = {"lost"} if "committed" in report.violations else set()
    return not (mutant.finds - unfinished).isdisjoint(report.violations)


def hunt(
    names: Iterable[str],
    *,
    model: Path,
    out: Path | None,
    duration_s: float,
    tries: int,
    say: Callable[[str], None] = print,
) -> dict[str, Report]:
    """Run these mutants, each up to ``tries`` times with another seed; the reports of those that were caught."""
    found: dict[str, Report] = {}
    with Cluster(say=lambda _: None) as cluster:
        for name in names:
            for _ in range(tries):
                report = hunt_one(MUTANTS[name], cluster, model, out, duration_s=duration_s, say=say)
                if caught(MUTANTS[name], report):
                    found[name] = report
                    break
            said = f"caught: {found[name].violations}" if name in found else "NOT CAUGHT"
            say(f"mutant {name}: {said}")
    return found


def hunt_one(
    mutant: Mutant,
    cluster: Cluster,
    model: Path,
    out: Path | None,
    *,
    duration_s: float,
    seed: int | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """One run of a mutant; the report names it."""
    scenario = load_all()[mutant.scenario]
    return run_scenario(
        mutant.scenario,
        cluster=cluster,
        model=model,
        seed=random.SystemRandom().randrange(1 << 31) if seed is None else seed,
        protocol=mutant.protocol,
        duration_s=duration_s,
        out=out,
        say=say,
        mutant=mutant.name,
        **{**mutant.options, "patches": (*scenario.rig.get("patches", ()), mutant.reference)},
    )
