"""Faults of worker processes."""

from __future__ import annotations

from random import Random

from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__: list[str] = []


@scenario("worker-kill", faults=("kill -9 of a worker",))
def worker_kill(rig: Rig, random: Random) -> None:
    """Kill -9 of workers at random times; most are restarted soon, some much later."""
    while rig.goes_on():
        slot = random.randrange(rig.count)
        rig.fault("kill -9 of a worker", slot)
        rig.workers[slot].kill()
        rig.wait(random.choice((0.0, 0.3, 1.0, 4.0)))
        rig.restart(slot)
        rig.wait(random.uniform(0.5, 3.0))
