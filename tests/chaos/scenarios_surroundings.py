"""Faults of the machine around a worker."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on

__all__: list[str] = []


@scenario("clock-jump", faults=("clock jump",), patches=("tests.chaos.patches:clock",))
def clock_jump(rig: Rig, random: Random) -> None:
    """The wall clock of the workers jumps by seconds, hours and days, forth and back; now and then one is killed."""
    strikes = (nemesis.clock_jump, nemesis.clock_jump, nemesis.clock_jump, nemesis.kill)
    strike_on(rig, random, *strikes, every_s=(0.2, 1.5))


@scenario("disk-full", faults=("disk full for logs",))
def disk_full(rig: Rig, random: Random) -> None:
    """A worker's log cannot grow, and what it logs about is fenced or killed meanwhile."""
    strike_on(rig, random, nemesis.disk_full, nemesis.disk_full, nemesis.hijack, nemesis.kill)
