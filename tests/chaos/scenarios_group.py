"""Rebalances."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on

__all__: list[str] = []


@scenario("join-leave", faults=("a worker joins", "a worker leaves"))
def join_leave(rig: Rig, random: Random) -> None:
    """A storm of rebalances: workers join and leave, in good order or killed."""
    strike_on(rig, random, nemesis.join, nemesis.join, nemesis.leave, every_s=(0.3, 2.0))


@scenario("rolling-restart", faults=("rolling restart",))
def rolling_restart(rig: Rig, random: Random) -> None:
    """Rolling restarts, as a deployment does them."""
    strike_on(rig, random, nemesis.roll, every_s=(0.0, 1.0))


@scenario(
    "static-members",
    faults=("kill -9 of a worker", "SIGTERM of a worker", "a second process with the transactional id"),
    patches=("tests.chaos.patches:static_member",),
)
def static_members(rig: Rig, random: Random) -> None:
    """Static members with both protocols: those that are fenced join again or end, and lose or double nothing."""
    strike_on(rig, random, nemesis.kill, nemesis.terminate, nemesis.freeze_long, nemesis.twin)
