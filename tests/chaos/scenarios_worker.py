"""Faults of worker processes."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.nemesis import Strike
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__ = ["strike_on"]


def strike_on(rig: Rig, random: Random, *strikes: Strike, every_s: tuple[float, float] = (0.5, 2.5)) -> None:
    """One of these faults after the other, until the duration is over."""
    while rig.goes_on():
        random.choice(strikes)(rig, random)
        rig.rest(random.uniform(*every_s))


@scenario("worker-kill", faults=("kill -9 of a worker",))
def worker_kill(rig: Rig, random: Random) -> None:
    """Kill -9 of workers at random times, at times of all; most are back soon, some much later."""
    strike_on(rig, random, nemesis.kill, nemesis.kill, nemesis.kill, nemesis.kill, nemesis.kill_all)


@scenario("worker-freeze", faults=("SIGSTOP of a worker",))
def worker_freeze(rig: Rig, random: Random) -> None:
    """SIGSTOP of workers, for less and for more than the session, transaction and poll time-outs."""
    strike_on(rig, random, nemesis.freeze, nemesis.freeze_long)


@scenario("worker-terminate", faults=("SIGTERM of a worker",))
def worker_terminate(rig: Rig, random: Random) -> None:
    """SIGTERM storms: drains, interrupted drains, drains that are killed."""
    strike_on(rig, random, nemesis.terminate, every_s=(0.2, 1.5))


@scenario(
    "worker-hijack",
    faults=("a second producer with the transactional id", "a second process with the transactional id"),
)
def worker_hijack(rig: Rig, random: Random) -> None:
    """Somebody else has the transactional id of a worker: a producer for a moment, or a whole worker for seconds."""
    strike_on(rig, random, nemesis.hijack, nemesis.hijack, nemesis.hijack, nemesis.twin, every_s=(0.2, 1.5))


@scenario("worker-kill-no-slot", faults=("kill -9 of a worker",), slots=False)
def worker_kill_no_slot(rig: Rig, random: Random) -> None:
    """Kill -9 of workers without a slot: nobody fences what a dead one left open, the broker times it out."""
    strike_on(rig, random, nemesis.kill, every_s=(1.0, 4.0))
