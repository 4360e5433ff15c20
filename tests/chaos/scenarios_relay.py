"""Many scenarios on one deployment: what is set up, settled and read back once serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from tests.chaos.rig import Rig
from tests.chaos.scenario import Scenario, load_all, scenario

__all__ = ["legs"]

_LEG_S = (15.0, 40.0)
_RIG: Mapping[str, Any] = {"proxied": True, "patches": ("tests.chaos.patches:clock",)}
"""What the scenarios of a relay may ask of their rig; all of them get it."""


@scenario(
    "relay",
    faults=("those of other scenarios",),
    weight=5.0,
    rate=5_000.0,
    workers=4,
    partitions=8,
    haste=1.6,
    **_RIG,
)
def relay(rig: Rig, random: Random) -> None:
    """One scenario after the other strikes the same workers and brokers; what one leaves behind meets the next."""
    found = legs()
    left: list[Scenario] = []
    while rig.goes_on():
        left = left or random.sample(found, len(found))
        with rig.leg(random.uniform(*_LEG_S)):
            left.pop().body(rig, random)


def legs() -> list[Scenario]:
    """The scenarios that ask nothing of their rig that a relay has not."""
    return [
        s for s in load_all().values() if s.rounds and s.name != "relay" and s.rig.items() <= _RIG.items()
    ]
