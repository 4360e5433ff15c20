"""The scenarios by name: each takes a stand and a plan, and gives one measurement per run, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from load.drain import drain
from load.idle import idles
from load.keys import keys
from load.measurement import Measurement
from load.paced import paced
from load.plan import Plan
from load.poison import poison
from load.restore import restores
from load.rivals import RIVALS
from load.stand import Stand
from load.start import starts
from load.width import widths
from load.workers import workers

__all__ = ["RIVALLED", "SCENARIOS", "Scenario", "warm_broker"]

Scenario = Callable[[Stand, Plan], Iterator[Measurement]]

RATES = (2_000, 10_000, 30_000)


def warm_broker(stand: Stand) -> None:
    """A broker's JVM needs some thousand small transactions before it is as fast as one that has run for a minute."""
    paced(stand, "worker", 2_000, 20)


def drains(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """A topic filled beforehand."""
    for _ in range(plan.repeats):
        for mode, program, settings in plan.turns():
            late = RIVALS[program].measured_from if program in RIVALS else 0.0
            run = drain(stand, program, plan.events_of(program), measured_from=late, **settings)
            yield run.measurement("drain", mode.replace("_", " "))


def paces(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """A steady rate, beside the rivals that can hold it."""
    warm_broker(stand)
    for _ in range(plan.repeats):
        for rate in RATES:
            for mode, program, settings in plan.turns():
                if program == "worker" or RIVALS[program].holds_per_s >= rate:
                    yield paced(stand, program, rate, plan.seconds, **settings).measurement(
                        "paced", f"{rate:,} events/s, {mode.replace('_', ' ')}"
                    )


SCENARIOS: dict[str, Scenario] = {
    "drain": drains,
    "paced": paces,
    "restore": restores,
    "width": widths,
    "keys": keys,
    "poison": poison,
    "workers": workers,
    "idle": idles,
    "start": starts,
}
"""What ``python -m load NAME`` runs."""

RIVALLED = frozenset({"drain", "paced", "width", "idle"})
"""Those that rivals take part in. In the others the worker is compared with its own first case: no rival here keeps
state over a restart, takes entities that training did not see, or rejects a record."""
