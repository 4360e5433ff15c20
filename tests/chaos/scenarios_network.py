"""Faults of the network, request by request and as a whole; the workers are behind the proxies of the cluster."""

from __future__ import annotations

from random import Random

from tests.chaos import nemesis, nemesis_network
from tests.chaos.nemesis_network import APIS, deeds, request_fault
from tests.chaos.proxy_frames import Api
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on

__all__: list[str] = []

_GROUP_ONLY = {
    "classic": {Api.CONSUMER_GROUP_HEARTBEAT},
    "consumer": {Api.HEARTBEAT, Api.JOIN_GROUP, Api.SYNC_GROUP},
}
"""What a worker with this group protocol never sends."""


@scenario("network-requests", faults=("a request held, delayed, dropped or cut",), proxied=True)
def network_requests(rig: Rig, random: Random) -> None:
    """Each kind of request held, delayed, dropped, cut and delivered late; what only joins see, with joins."""
    deck: list[tuple[Api, str]] = []
    while rig.goes_on():
        if not deck:
            apis = [api for api in APIS if api not in _GROUP_ONLY[rig.options.protocol]]
            deck = [(api, deed) for api in apis for deed in deeds(api)]
            random.shuffle(deck)
        api, deed = deck.pop()
        request_fault(rig, random, api, deed)
        if api in {Api.INIT_PRODUCER_ID, Api.JOIN_GROUP, Api.SYNC_GROUP, Api.OFFSET_FETCH, Api.LIST_OFFSETS}:
            random.choice((nemesis.kill, nemesis.leave, nemesis.hijack))(rig, random)
        rig.rest(random.uniform(0.3, 1.5))


@scenario("network-late", faults=("late EndTxn", "late TxnOffsetCommit", "kill -9 of a worker"), proxied=True)
def network_late(rig: Rig, random: Random) -> None:
    """Ends and offsets of transactions arrive within later ones; workers are killed at the worst time for that."""
    late = (nemesis_network.late_end_txn, nemesis_network.late_offsets)
    strike_on(rig, random, *late, *late, nemesis.kill, nemesis.leave, every_s=(0.1, 1.0))


@scenario("network-cut", faults=("network cut",), proxied=True)
def network_cut(rig: Rig, random: Random) -> None:
    """Workers are cut off from one or all brokers, for less and for more than their time-outs."""
    strike_on(
        rig,
        random,
        nemesis_network.cut_off,
        nemesis_network.cut_off_everywhere,
        nemesis_network.all_cut_off,
        every_s=(2.0, 8.0),
    )


@scenario("network-weather", faults=("network delay", "network loss"), proxied=True)
def network_weather(rig: Rig, random: Random) -> None:
    """Delay, jitter and random loss of connections, while workers come and go."""
    weather = (nemesis_network.latency, nemesis_network.loss)
    strike_on(rig, random, *weather, *weather, nemesis.kill, nemesis.leave)


@scenario("network-composite", faults=("any of the network", "kill -9, SIGSTOP, SIGTERM"), proxied=True)
def network_composite(rig: Rig, random: Random) -> None:
    """Network faults of every kind beside those of workers and brokers."""
    strike_on(
        rig,
        random,
        _any_request,
        _any_request,
        nemesis_network.late_end_txn,
        nemesis_network.late_offsets,
        nemesis_network.cut_off,
        nemesis_network.loss,
        nemesis_network.latency,
        nemesis.kill,
        nemesis.freeze,
        nemesis.terminate,
        nemesis.broker_restart,
    )


def _any_request(rig: Rig, random: Random) -> None:
    api = random.choice([api for api in APIS if api not in _GROUP_ONLY[rig.options.protocol]])
    request_fault(rig, random, api, random.choice(deeds(api)))
