"""Keys: what an event costs as its entities grow in number, once they are all there.

Training saw none of them, so the worker also keeps running statistics of each. Neighbouring events are of entities
that lie far apart, and no round has the order of the one before: with a million of them every look-up and every window
misses the caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from load.drain import drain
from load.measurement import Measurement
from load.plan import Plan
from load.stand import Stand
from load.traffic import Traffic

__all__ = ["COUNTS", "keys"]

COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
_SEEN = 0.5


def keys(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """Drain at least two rounds over all entities; the second half is measured, when all of them are known."""
    for _ in range(plan.repeats):
        for count in COUNTS:
            if count <= plan.events:
                events = max(plan.events // 2, 2 * count)
                traffic = Traffic(entities=count, known=False)
                run = drain(stand, "worker", events, traffic=traffic, measured_from=_SEEN, **plan.settings)
                taken = run.measurement("keys", f"{count:,} entities")
                yield replace(taken, figures={**taken.figures, "window_us": taken.stage_us["window"]})
