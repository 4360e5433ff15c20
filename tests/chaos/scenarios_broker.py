"""Faults of brokers, chosen by what they lead."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on

__all__: list[str] = []


@scenario("broker-kill", faults=("kill -9 of a broker",))
def broker_kill(rig: Rig, random: Random) -> None:
    """Kill -9 of the transaction coordinator, the group coordinator, a leader of input or output, or any broker."""
    strike_on(rig, random, nemesis.broker_kill)


@scenario("broker-freeze", faults=("SIGSTOP of a broker",))
def broker_freeze(rig: Rig, random: Random) -> None:
    """SIGSTOP of a broker, under and past the time-outs of the cluster and of its clients."""
    strike_on(rig, random, nemesis.broker_freeze)


@scenario("broker-restart", faults=("restart of a broker",))
def broker_restart(rig: Rig, random: Random) -> None:
    """Brokers are restarted in good order, as in an upgrade."""
    strike_on(rig, random, nemesis.broker_restart)


@scenario("brokers-all", faults=("kill -9 of all brokers", "SIGSTOP of all brokers"))
def brokers_all(rig: Rig, random: Random) -> None:
    """All brokers are away at once."""
    strike_on(rig, random, nemesis.all_brokers_killed, nemesis.all_brokers_frozen, every_s=(4.0, 10.0))
