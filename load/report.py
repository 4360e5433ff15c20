"""Runs as a table and as JSON, with the ratio to the rival of the same call."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from load.drain import Drain
from load.paced import Paced
from load.recover import Load, Recovery

__all__ = [
    "busy_share",
    "ratio",
    "save",
    "save_recoveries",
    "show_drains",
    "show_paced",
    "show_recoveries",
]

_CONSOLE = Console()


def busy_share() -> tuple[int, int]:
    """Busy and all ticks of the machine so far: the difference of two calls says how quiet it was."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def ratio(drains: Sequence[Drain]) -> dict[str, Any]:
    """Events per second of the worker over each rival's: pair by pair in the order of the runs, and their median."""
    mine = [run.events_per_second for run in drains if run.program == "worker"]
    ratios: dict[str, Any] = {}
    for program in sorted({run.program for run in drains} - {"worker"}):
        theirs = [run.events_per_second for run in drains if run.program == program]
        pairs = [a / b for a, b in zip(mine, theirs, strict=False)]
        ratios[program] = {"median": statistics.median(pairs), "least": min(pairs), "most": max(pairs)}
    return ratios


def show_drains(drains: Sequence[Drain]) -> None:
    """Print the drains and their ratios."""
    table = Table(
        "program",
        "events",
        "events/s",
        "second half",
        "CPU us/event",
        "peak RSS MiB",
        title="drain, exactly-once",
    )
    for run in drains:
        table.add_row(
            run.program,
            f"{run.events:,}",
            f"{run.events_per_second:,.0f}",
            f"{run.second_half_per_second:,.0f}",
            f"{run.cpu_us_per_event:.2f}",
            f"{run.peak_rss_mib:.0f}",
        )
    _CONSOLE.print(table)
    for program, found in ratio(drains).items():
        _CONSOLE.print(
            f"worker / {program}: {found['median']:.1f} ({found['least']:.1f} to {found['most']:.1f})"
        )


def show_paced(runs: Sequence[Paced]) -> None:
    """Print the latencies."""
    table = Table(
        "program", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/event", title="paced, exactly-once"
    )
    for run in runs:
        cells = (f"{run.rate:,.0f}", f"{run.p50_ms:.1f}", f"{run.p99_ms:.1f}", f"{run.p999_ms:.1f}")
        table.add_row(
            run.program,
            *cells,
            "" if run.cpu_us_per_event != run.cpu_us_per_event else f"{run.cpu_us_per_event:.1f}",
        )
    _CONSOLE.print(table)


def save(path: Path, drains: Sequence[Drain], runs: Sequence[Paced]) -> None:
    """Write everything measured, and on what."""
    content = {
        **_surroundings(),
        "drain": [asdict(run) for run in drains],
        "ratio": ratio(drains),
        "paced": [asdict(run) for run in runs],
    }
    _write(path, content)


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
    _write(path, {**_surroundings(), "load": asdict(load), "faults": faults})


def _surroundings() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in ("confluent-kafka", "numba", "onnxruntime", "fastavro")},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    _CONSOLE.print(f"written to {path}")
