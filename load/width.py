"""Width: what an event's features, and the way it carries them, cost."""

from __future__ import annotations

from collections.abc import Iterator

from load.drain import drain
from load.measurement import Measurement
from load.plan import Plan
from load.stand import Stand
from load.traffic import Traffic

__all__ = ["SHAPES", "widths"]

SHAPES: dict[str, tuple[Traffic, int]] = {
    "8 features, array": (Traffic(width=8), 1),
    "38 features, array": (Traffic(), 1),
    "380 features, array": (Traffic(width=380), 8),
    "38 features, a field each": (Traffic(form="fields"), 1),
    "38 features, nullable, enum, map, decimal, nested": (Traffic(form="mixed"), 1),
}
"""Name -> the traffic, and by how much fewer events do."""


def widths(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """Drain each shape of event, the worker and the rivals in turns."""
    for _ in range(plan.repeats):
        for name, (traffic, fewer) in SHAPES.items():
            for mode, program, settings in plan.turns():
                case = name if mode == "exactly_once" else f"{name}, {mode.replace('_', ' ')}"
                events = plan.events_of(program) // fewer
                yield drain(stand, program, events, traffic=traffic, **settings).measurement("width", case)
