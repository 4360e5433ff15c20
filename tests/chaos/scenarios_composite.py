"""Everything at once, by chance."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.nemesis import Strike
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__ = ["STRIKES"]

STRIKES: list[Strike] = [*nemesis.WORKER, *nemesis.GROUP, *nemesis.SURROUNDINGS, *nemesis.BROKER]
"""What the composite draws from; other modules add their own (``STRIKES.append``)."""

_PHASE_S = (8.0, 16.0)
_QUIET = 0.2


@scenario(
    "composite",
    faults=("any",),
    patches=("tests.chaos.patches:clock",),
)
def composite(rig: Rig, random: Random) -> None:
    """In each phase of some seconds a few kinds of faults, drawn anew; one phase in five is quiet."""
    while rig.goes_on():
        seconds = random.uniform(*_PHASE_S)
        if random.random() < _QUIET:
            rig.wait(seconds)
            continue
        _phase(rig, random, random.sample(STRIKES, 3), seconds)


@scenario(
    "soak", faults=("any",), rounds=False, rate=2_000.0, patches=("tests.chaos.patches:clock",), slots=True
)
def soak(rig: Rig, random: Random) -> None:
    """The composite for long; two of three workers are never ended by it, so that what grows in them shows."""
    rig.spared = {0, 1}
    composite(rig, random)


def _phase(rig: Rig, random: Random, strikes: list[Strike], seconds: float) -> None:
    until_s = rig.now_s() + seconds
    while rig.goes_on() and rig.now_s() < until_s:
        random.choice(strikes)(rig, random)
        rig.wait(random.uniform(0.3, 2.5))
