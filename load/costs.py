"""What things cost, fitted to measurements: the numbers of the capacity model.

Each cost is a line through the ends of what was measured; the points between them are there to test it.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from load.autoencoder import flops_of
from load.measurement import Measurement

__all__ = ["Costs", "Line", "fit", "line", "points"]

_NUMBER = re.compile(r"[\d,]+")


@dataclass(frozen=True)
class Line:
    """y = fixed + slope * x."""

    fixed: float
    slope: float

    def __call__(self, x: float) -> float:
        """Y at x."""
        return self.fixed + self.slope * x


@dataclass(frozen=True)
class Costs:
    """What a capacity is made of.

    ``stages_us``: CPU of a worker under load per event without the model, by features. ``model_us``: of the model,
    by floating point operations of an event. ``paced_us_per_s``: CPU of a worker per second by events per second at
    low rates, where each batch is a transaction. ``restore_s``: CPU of a worker that starts and restores so many
    entities, which is the time it takes on a core of its own. ``entity_bytes``: memory of one, of 38
    features and a window of 5. ``broker_us``: CPU of a broker per event that is read, scored and written back.
    """

    stages_us: Line
    model_us: Line
    paced_us_per_s: Line
    restore_s: Line
    entity_bytes: float
    broker_us: float

    def event_us(self, features: int, flops: float) -> float:
        """CPU of a worker under load per event."""
        return self.stages_us(features) + self.model_us(flops)


def line(points_of: Sequence[tuple[float, float]]) -> Line:
    """Through the ends. Raises ValueError where there are no two."""
    if len(points_of) < 2:
        raise ValueError(
            f"a line needs two points, not {len(points_of)}: measure with `python -m load costs`"
        )
    (x0, y0), (x1, y1) = min(points_of), max(points_of)
    slope = (y1 - y0) / (x1 - x0)
    return Line(y0 - slope * x0, slope)


def fit(measurements: Sequence[Measurement]) -> Costs:
    """Raises ValueError, naming what to measure, where something was not measured."""
    widths = points(measurements, "width", _without_model)
    return Costs(
        stages_us=line(widths),
        model_us=line([(flops_of(int(x)), y) for x, y in points(measurements, "width", _model)]),
        paced_us_per_s=line(
            points(measurements, "paced", lambda one: one.figures["cpu_us_per_event"], per_s=True)
        ),
        restore_s=line(points(measurements, "restore", lambda one: one.figures["cpu_s"])),
        entity_bytes=points(measurements, "restore", lambda one: one.figures["state_bytes_per_entity"])[-1][
            1
        ],
        broker_us=dict(points(measurements, "width", lambda one: one.figures["broker_us_per_event"]))[38],
    )


def points(
    measurements: Sequence[Measurement],
    scenario: str,
    value: Callable[[Measurement], float],
    *,
    per_s: bool = False,
) -> list[tuple[float, float]]:
    """x, the first number in the name of the case, and the median over its runs; by x. Only arrays of the widths.

    ``per_s``: values per event are made values per second, x being events per second.
    """
    found: dict[float, list[float]] = {}
    for one in measurements:
        number = _NUMBER.match(one.case)
        if one.scenario == scenario and one.program == "worker" and number and _plain(one.case):
            x = float(number[0].replace(",", ""))
            found.setdefault(x, []).append(value(one) * (x if per_s else 1))
    return [(x, statistics.median(values)) for x, values in sorted(found.items())]


def _plain(case: str) -> bool:
    return "features" not in case or case.endswith("array")


def _model(one: Measurement) -> float:
    return one.stage_us["score"]


def _without_model(one: Measurement) -> float:
    return one.figures["cpu_us_per_event"] - one.stage_us["score"]
