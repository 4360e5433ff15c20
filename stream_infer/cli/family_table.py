"""The table of ``stream-infer evaluate --family``: families side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.data_options import progress_bar, read_rows

if TYPE_CHECKING:
    from rich.table import Table

    from stream_infer.models.dataset import Dataset
    from stream_infer.models.evaluate import Cause, Quality
    from stream_infer.models.measure import Measured

__all__ = ["measure_families", "print_families"]

_TITLES = ("VUS-PR", "AUC-PR", "events", "false alarms/day", "delay s", "causes", "us/event", "train s")


def measure_families(
    data_path: Path, options: dict[str, Any], causes: Sequence[Cause]
) -> tuple[list[Measured], dict[str, Quality]]:
    """Train and measure each family that ``options`` names; with ``holdout``, also on entities left out."""
    from stream_infer.models.measure import left_out, measure  # noqa: PLC0415 (slow)
    from stream_infer.models.train import Recipe  # noqa: PLC0415

    data = read_rows(data_path, options)
    rows = (
        data.rows_of(_split(data, options["train_split"], "train")),
        data.rows_of(_split(data, options["split"], "test")),
    )
    measured, unseen = [], {}
    for family in dict.fromkeys(options["families"]):
        recipe = Recipe(family=family, threshold_quantile=options["threshold_quantile"])
        with progress_bar() as report:
            measured.append(measure(data, rows, recipe, causes, _named(report, family)))
            if options["holdout"]:
                unseen[family] = left_out(data, rows, recipe, causes, _named(report, f"{family}, left out"))
    return measured, unseen


def _split(data: Dataset, wanted: str | None, usual: str) -> str:
    if wanted is None and usual not in data.splits:
        raise click.UsageError(
            f"--family trains on one split and measures on another: the data has no {usual!r} rows; name them with "
            "--train-split and --split"
        )
    return wanted or usual


def _named(report: Callable[[str, float], None], what: str) -> Callable[[str, float], None]:
    return lambda step, done: report(f"{what}: {step}", done)


def print_families(measured: Sequence[Measured], unseen: dict[str, Quality]) -> None:
    """Print a row per family, a random score beside them, and VUS-PR per entity."""
    from rich.console import Console  # noqa: PLC0415 (slow)
    from rich.table import Table  # noqa: PLC0415

    table = Table("family", box=None, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="right")
    quality = measured[0].quality
    table.add_row("random score", _number(quality.random_vus_pr, 3), _number(quality.random_auc_pr, 3))
    for one in measured:
        table.add_row(one.family, *_figures(one.quality), f"{one.us_per_event:.2f}", f"{one.train_s:.0f}")
        if one.family in unseen:
            table.add_row("  entities left out", *_figures(unseen[one.family]))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print("\nVUS-PR of each entity", highlight=False)
    console.print(_per_entity(measured))


def _per_entity(measured: Sequence[Measured]) -> Table:
    from rich.table import Table  # noqa: PLC0415 (slow)

    table = Table("entity", box=None, pad_edge=False)
    for one in measured:
        table.add_column(one.family, justify="right")
    by_family = [{entity.entity: entity.vus_pr for entity in one.quality.per_entity} for one in measured]
    for name in sorted(set().union(*by_family)):
        table.add_row(name, *(_number(values.get(name), 3) for values in by_family))
    halves = [_halves(values) for values in by_family]
    table.add_section()
    for number, title in enumerate(("mean of every 2nd, from the 1st", "mean of the others")):
        table.add_row(title, *(_number(half[number], 3) for half in halves))
    return table


def _halves(values: dict[str, float | None]) -> list[float | None]:
    """Means over the two halves that ``measure.halves`` makes."""
    ordered = [values[name] for name in sorted(values)]
    halves = [[value for value in ordered[start::2] if value is not None] for start in (0, 1)]
    return [sum(half) / len(half) if half else None for half in halves]


def _figures(quality: Quality) -> list[str]:
    return [
        _number(quality.vus_pr, 3),
        _number(quality.auc_pr, 3),
        f"{quality.events_found}/{quality.events}",
        _number(quality.false_alarms_per_entity_day, 2),
        _number(quality.delay_s, 0),
        _number(quality.root_cause_share, 2),
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
