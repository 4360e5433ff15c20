"""Measurements as tables, as JSON and as a page, with the ratios to the rivals of the same call."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from load.figures import Figure, shown
from load.measurement import QUIET_SHARE, Measurement, Spread, ratio, spread
from load.page import page
from load.recover import Load, Recovery

__all__ = [
    "cases_of",
    "ratios",
    "read",
    "save",
    "save_recoveries",
    "show",
    "show_recoveries",
    "surroundings",
]

_CONSOLE = Console(width=None if sys.stdout.isatty() else 170)


def show(measurements: Sequence[Measurement]) -> None:
    """Print a table per scenario, the ratios in it, and whether the machine was quiet."""
    for scenario in dict.fromkeys(one.scenario for one in measurements):
        those = [one for one in measurements if one.scenario == scenario]
        figures = shown(those)
        table = Table("case", "program", "runs", *(figure.title for figure in figures), title=scenario)
        for (case, program), runs in cases_of(those).items():
            cells = (_cell([run.figures.get(figure.name) for run in runs], figure) for figure in figures)
            table.add_row(case, program, str(len(runs)), *cells)
        _CONSOLE.print(table)
        for line in _ratio_lines(those, figures):
            _CONSOLE.print(line)
        for line in _stage_lines(those):
            _CONSOLE.print(line)
    noisy = [one for one in measurements if not one.quiet]
    if noisy:
        worst = max(one.strangers for one in noisy)
        _CONSOLE.print(
            f"[bold]The machine was not quiet[/bold]: in {len(noisy)} of {len(measurements)} runs others took more "
            f"than {QUIET_SHARE:.0%} of it, {worst:.0%} at most. "
            "Ratios of runs in turns mean more than their figures then."
        )
    else:
        _CONSOLE.print(f"The machine was quiet: others took at most {QUIET_SHARE:.0%} of it in every run.")


def cases_of(measurements: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    """Runs by case and program, in the order of their first run."""
    found: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        found.setdefault((one.case, one.program), []).append(one)
    return found


def ratios(
    measurements: Sequence[Measurement], figures: Sequence[Figure]
) -> Iterator[tuple[str, str, Spread]]:
    """Of one scenario: what over what, of which figure, and how much.

    The worker over each rival in each case; and over its own first case, where only the worker runs.
    """
    cases = cases_of(measurements)
    programs = {program for _, program in cases}
    first = next(iter(cases))
    for (case, program), runs in cases.items():
        alone = programs == {"worker"}
        if alone and (case, program) == first:
            continue
        if not alone and program == "worker":
            continue
        mine, theirs = (runs, cases[first]) if alone else (cases.get((case, "worker"), []), runs)
        label = f"{case} / {first[0]}" if alone else f"{case}: worker / {program}"
        for figure in figures:
            found = ratio(mine, theirs, figure.name) if figure.compared else None
            if found is not None:
                yield label, figure.title, found


def save(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write every run and what it was taken on as JSON, and beside it a page with plots."""
    content = {**surroundings(), "measurements": [one.to_json() for one in measurements]}
    _write(path, content)
    html = path.with_suffix(".html")
    lines = {
        scenario: list(
            _ratio_lines(those := [m for m in measurements if m.scenario == scenario], shown(those))
        )
        for scenario in dict.fromkeys(one.scenario for one in measurements)
    }
    html.write_text(page(measurements, surroundings(), lines), "utf-8")
    _CONSOLE.print(f"written to {html}")


def read(path: Path) -> list[Measurement]:
    """What ``save`` wrote."""
    content = json.loads(path.read_text("utf-8"))
    return [Measurement.from_json(one) for one in content["measurements"]]


def _cell(values: Sequence[float | None], figure: Figure) -> str:
    given = [value for value in values if value is not None]
    if not given:
        return ""
    found = spread(given)
    middle = figure.text(found.median)
    return middle if len(given) == 1 else f"{middle} ({figure.text(found.least)}..{figure.text(found.most)})"


def _ratio_lines(measurements: Sequence[Measurement], figures: Sequence[Figure]) -> Iterator[str]:
    for label, title, found in ratios(measurements, figures):
        yield f"{label}, {title}: x {found.median:.3g} ({found.least:.3g} to {found.most:.3g})"


def _stage_lines(measurements: Sequence[Measurement]) -> Iterator[str]:
    for (case, _), runs in cases_of([one for one in measurements if one.stage_us]).items():
        names = dict.fromkeys(name for run in runs for name in run.stage_us)
        medians = {name: statistics.median(run.stage_us.get(name, 0.0) for run in runs) for name in names}
        told = ", ".join(f"{name} {us:.2f}" for name, us in medians.items())
        yield f"{case}: the owner thread, us/event: {told}"


def show_recoveries(load: Load, recoveries: Sequence[Recovery]) -> None:
    """Print the faults of a kind in a line."""
    table = Table(
        "fault",
        "times",
        "gap p50 s",
        "p95",
        "max",
        "delay p50 s",
        "p99, median",
        "p99, worst",
        "max",
        title=f"{load.protocol}, {load.mode}: {load.rate:,.0f} events/s, {load.partitions} partitions",
    )
    for fault in dict.fromkeys(one.fault for one in recoveries):
        those = [one for one in recoveries if one.fault == fault]
        gaps, p99s = [one.gap_s for one in those], [one.p99_s for one in those]
        figures = [*np.percentile(gaps, [50, 95, 100]), statistics.median(one.p50_s for one in those)]
        figures += [statistics.median(p99s), max(p99s), max(one.max_s for one in those)]
        table.add_row(fault, str(len(those)), *(f"{figure:.2f}" for figure in figures))
    _CONSOLE.print(table)


def save_recoveries(path: Path, load: Load, recoveries: Sequence[Recovery]) -> None:
    """Write every fault, and under which load."""
    faults = [asdict(one) for one in recoveries]
    _write(path, {**surroundings(), "load": asdict(load), "faults": faults})


def surroundings() -> dict[str, Any]:
    """What figures depend on beside the code."""
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in ("confluent-kafka", "numba", "onnxruntime", "fastavro")},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    _CONSOLE.print(f"written to {path}")
