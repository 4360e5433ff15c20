"""Kill -9 at every step of a worker."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.failpoints import POINTS, arm
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__ = ["fault_of"]

_ARM = f"{arm.__module__}:{arm.__name__}"
_STARTED_WITHIN_S = 120.0
_REACHED_WITHIN_S = 20.0
_FROZEN_S = {"classic": 4.5, "consumer": 8.0}
_ONCE = {"init", "assigned", "revoked", "lost", "abort", "undo", "restore_begin", "restore_place"}
"""Stages that a worker seldom comes to: the first time is the time."""


def fault_of(point: str) -> str:
    """The fault of a worker that died at a point."""
    return f"kill -9 {point}"


@dataclass
class _Victim:
    """A slot whose worker is to die at a point; ``since_s``: when it was started, or had its first partitions."""

    slot: int
    point: str
    log: Path
    since_s: float
    working: bool = False
    frozen: bool = False

    @property
    def stage(self) -> str:
        return self.point.partition(".")[0]


@scenario(
    "failpoints",
    faults=tuple(fault_of(point) for point in POINTS),
    workers=4,
    partitions=8,
    rate=1_500.0,
    # A worker that is killed at each of its starts is no sign of poison here, and sandboxes would take the CPU.
    settings={"quarantine": {"deaths": 100}},
)
def failpoints(rig: Rig, random: Random) -> None:
    """Three of four workers are killed again and again, each time at another failpoint; points take turns."""
    points = _turns(rig.options.points or POINTS, random)
    victims = [_next(rig, slot, next(points), random) for slot in range(1, rig.options.workers)]
    while rig.goes_on():
        rig.wait(0.05)
        for number, victim in enumerate(victims):
            if _ended(rig, victim):
                victims[number] = _next(rig, victim.slot, next(points), random)
    for victim in victims:
        rig.workers[victim.slot].kill()
        rig.start(victim.slot)


def _turns(points: Sequence[str], random: Random) -> Iterator[str]:
    """All points in a random order, then again in another."""
    for _ in itertools.count():
        yield from random.sample(points, len(points))


def _next(rig: Rig, slot: int, point: str, random: Random) -> _Victim:
    worker = rig.workers[slot]
    if worker.alive:
        worker.kill()
    victim = _Victim(slot, point, worker.log.with_suffix(".points"), time.monotonic())
    at = 1 if victim.stage in _ONCE else random.choice((1, 1, 2, 3, 10))
    armed = f"{point}=kill@{at}"
    if victim.stage in {"abort", "undo"}:
        armed += f",flush.before=undone@{random.choice((1, 2, 5))}"
    environment = {"CHAOS_FAILPOINTS": armed, "CHAOS_FAILPOINTS_LOG": str(victim.log)}
    rig.start(slot, patches=(_ARM,), environment=environment)
    return victim


def _ended(rig: Rig, victim: _Victim) -> bool:
    """Whether the victim died at its point, or never came there in time."""
    worker = rig.workers[victim.slot]
    if not victim.working and " assigned " in worker.text():
        victim.working, victim.since_s = True, time.monotonic()
    age_s = time.monotonic() - victim.since_s
    if not worker.alive:
        if victim.log.exists() and victim.point in victim.log.read_text().split():
            rig.fault(fault_of(victim.point), victim.slot)
        return True
    if victim.stage == "lost" and victim.working and not victim.frozen and age_s > 2:
        victim.frozen = True
        worker.pause()
        rig.later(_FROZEN_S[rig.options.protocol], worker.resume)
    return age_s > (_REACHED_WITHIN_S if victim.working else _STARTED_WITHIN_S)
