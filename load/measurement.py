"""A measurement: what one program did in one run of one case of a scenario, and sums over repeats of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["QUIET_SHARE", "Measurement", "Spread", "ratio", "spread"]

QUIET_SHARE = 0.1
"""More of the machine than this taken by strangers, and a run is called noisy."""


@dataclass(frozen=True)
class Measurement:
    """One run.

    ``figures``: name with unit -> value, such as ``events_per_s`` or ``p99_ms``. ``stage_us``: microseconds of the
    owner thread per event in each stage of the worker; empty of a rival. ``strangers``: share of the machine that went
    to neither the program nor the broker nor this measurement.
    """

    scenario: str
    case: str
    program: str
    events: int
    figures: dict[str, float]
    stage_us: dict[str, float] = field(default_factory=dict)
    strangers: float = 0.0

    @property
    def quiet(self) -> bool:
        """Whether the machine was left to the measurement."""
        return self.strangers <= QUIET_SHARE

    def to_json(self) -> dict[str, Any]:
        """Every field, and whether it was quiet."""
        return {**asdict(self), "quiet": self.quiet}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Measurement:
        """The reverse of ``to_json``."""
        return cls(**{name: value for name, value in content.items() if name != "quiet"})


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some repeats."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where there is no value."""
    if not values:
        raise ValueError("no value has no spread")
    return Spread(statistics.median(values), min(values), max(values))


def ratio(mine: Sequence[Measurement], theirs: Sequence[Measurement], figure: str) -> Spread | None:
    """The figure of ``mine`` over that of ``theirs``, run by run in the order they were taken; None without pairs.

    Runs that stand in turns share what else the machine did, so their ratio is steadier than the figures.
    """
    pairs = [
        (one.figures[figure], other.figures[figure])
        for one, other in zip(mine, theirs, strict=False)
        if figure in one.figures and other.figures.get(figure)
    ]
    return spread([a / b for a, b in pairs]) if pairs else None
