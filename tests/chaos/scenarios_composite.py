"""Everything at once, by chance."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.nemesis import Strike
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__ = ["SHORT_FAULTS", "STRIKES"]

STRIKES: list[Strike] = [*nemesis.WORKER, *nemesis.GROUP, *nemesis.SURROUNDINGS, *nemesis.BROKER]
"""What the composite draws from; other modules add their own (``STRIKES.append``)."""

SHORT_FAULTS = 20
"""Of each protocol: the two together promise forty."""
_DECK: list[Strike] = [
    *5 * [nemesis.kill],
    *4 * [nemesis.hijack],
    *3 * [nemesis.freeze],
    *2 * [nemesis.terminate],
    *2 * [nemesis.clock_jump],
    *2 * [nemesis.join],
    nemesis.freeze_long,
    nemesis.disk_full,
    nemesis.broker_kill,
    nemesis.broker_freeze,
    nemesis.broker_restart,
]
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


@scenario(
    "short",
    faults=("any",),
    rounds=False,
    rate=500.0,
    short_timeouts=False,
    patches=("tests.chaos.patches:clock",),
)
def short(rig: Rig, random: Random) -> None:
    """Some of everything, as often as the ordinary tests have time for: a count of faults, however long they take."""
    deck: list[Strike] = []
    while len(rig.faults) < SHORT_FAULTS and rig.goes_on():
        if not deck:
            deck = random.sample(_DECK, len(_DECK))
        deck.pop()(rig, random)
        rig.wait(random.uniform(0.3, 1.2))


def _phase(rig: Rig, random: Random, strikes: list[Strike], seconds: float) -> None:
    until_s = rig.now_s() + seconds
    while rig.goes_on() and rig.now_s() < until_s:
        random.choice(strikes)(rig, random)
        rig.rest(random.uniform(0.3, 2.5))
