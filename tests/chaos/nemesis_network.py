"""Faults of the network between workers and brokers, by the proxy: of requests, of connections, of the weather."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from random import Random

from tests.chaos.cluster import NODES
from tests.chaos.proxy_frames import Api
from tests.chaos.proxy_rules import Cut, Delay, Drop, Hold, Match, Rule
from tests.chaos.rig import Rig

__all__ = [
    "APIS",
    "all_cut_off",
    "cut_off",
    "cut_off_everywhere",
    "late_end_txn",
    "late_offsets",
    "latency",
    "loss",
    "request_fault",
]

APIS = (
    Api.PRODUCE,
    Api.ADD_PARTITIONS_TO_TXN,
    Api.ADD_OFFSETS_TO_TXN,
    Api.TXN_OFFSET_COMMIT,
    Api.END_TXN,
    Api.INIT_PRODUCER_ID,
    Api.HEARTBEAT,
    Api.CONSUMER_GROUP_HEARTBEAT,
    Api.JOIN_GROUP,
    Api.SYNC_GROUP,
    Api.OFFSET_FETCH,
    Api.METADATA,
    Api.FIND_COORDINATOR,
    Api.FETCH,
    Api.LIST_OFFSETS,
)
"""Requests that a worker sends."""

_DEEDS = ("held", "delayed", "dropped", "answer dropped", "cut", "answer cut", "held, cut and delivered late")
_SHORT_S = (0.2, 2.0)
_LONG_S = (6.0, 11.0)  # past the session, the transaction and the time-out of a request


def request_fault(rig: Rig, random: Random, api: Api, deed: str) -> None:
    """One request of a kind, or a few, of one worker or of all, are held, delayed, dropped or cut."""
    slot = _slot(rig, random)
    match = Match((api,), client=_client(slot))
    count = random.choice((1, 1, 2, 5))
    seconds = random.uniform(*random.choice((_SHORT_S, _SHORT_S, _LONG_S)))
    rig.fault(f"{api.name} {deed}", f"{'all' if slot is None else slot}, {count} of them, {seconds:.1f} s")
    _for(rig, seconds, [_rule(deed, match, count, random)])


def deeds(api: Api) -> tuple[str, ...]:
    """What can be done to requests of a kind: an answer that holds nothing is not worth losing."""
    return _DEEDS[:2] if api is Api.FETCH else _DEEDS


def late_end_txn(rig: Rig, random: Random) -> None:
    """The client repeats an EndTxn whose connection broke; the first one arrives later, within another transaction."""
    committed = random.choice((True, True, False))
    which = "commit" if committed else "abort"
    _late(rig, random, f"late EndTxn ({which})", (Api.END_TXN,), committed=committed)


def late_offsets(rig: Rig, random: Random) -> None:
    """The client repeats a TxnOffsetCommit whose connection broke; the first one arrives within another transaction."""
    _late(rig, random, "late TxnOffsetCommit", (Api.TXN_OFFSET_COMMIT,), committed=None)


def cut_off(rig: Rig, random: Random) -> None:
    """A worker is cut off from one broker, shorter or longer than time-outs; silently, or by broken connections."""
    slot, node = _slot(rig, random, one=True), random.choice(NODES)
    _sever(rig, random, "network cut between a worker and a broker", slot, node)


def cut_off_everywhere(rig: Rig, random: Random) -> None:
    """A worker is cut off from all brokers."""
    _sever(rig, random, "network cut between a worker and all brokers", _slot(rig, random, one=True), None)


def all_cut_off(rig: Rig, random: Random) -> None:
    """All workers are cut off from one broker, or from all."""
    node = random.choice((*NODES, None))
    kind = "all brokers" if node is None else "a broker"
    _sever(rig, random, f"network cut between all workers and {kind}", None, node)


def latency(rig: Rig, random: Random) -> None:
    """Every request of a worker takes longer."""
    slot = _slot(rig, random)
    delay_s, jitter_s = random.choice(((0.005, 0.0), (0.05, 0.05), (0.2, 0.3)))
    rig.fault("network delay", f"{slot} +{delay_s * 1000:.0f} ms, jitter {jitter_s * 1000:.0f} ms")
    rule = Delay(Match(client=_client(slot)), delay_s, jitter_s=jitter_s, random=Random(random.random()))
    _for(rig, random.uniform(2.0, 6.0), [rule])


def loss(rig: Rig, random: Random) -> None:
    """Connections of a worker break at random, before a request or before its answer."""
    slot, chance = _slot(rig, random), random.choice((0.002, 0.01, 0.05))
    rig.fault("network loss", f"{slot}, {chance:.1%} of requests")
    match = Match(client=_client(slot), chance=chance, random=Random(random.random()))
    _for(rig, random.uniform(2.0, 6.0), [Cut(match), Cut(match, response=True)])


def _late(rig: Rig, random: Random, kind: str, apis: tuple[Api, ...], *, committed: bool | None) -> None:
    slot = _slot(rig, random, one=True)
    match = Match(apis, client=_client(slot), committed=committed)
    rig.fault(kind, slot)
    _for(rig, random.uniform(0.05, 1.5), [Hold(match, count=1, hang_up=random.random() < 0.8)])


def _rule(deed: str, match: Match, count: int, random: Random) -> Rule:
    if deed == "held":
        return Hold(match, count=count)
    if deed == "delayed":
        return Delay(match, random.uniform(0.05, 3.0), random=Random(random.random()), count=count)
    if deed in {"dropped", "answer dropped"}:
        return Drop(match, count=count, response=deed == "answer dropped")
    if deed in {"cut", "answer cut"}:
        return Cut(match, count=count, response=deed == "answer cut")
    return Hold(match, count=count, hang_up=True)


def _sever(rig: Rig, random: Random, kind: str, slot: int | None, node: int | None) -> None:
    silent = random.random() < 0.5
    seconds = random.uniform(*random.choice((_SHORT_S, _LONG_S)))
    rig.fault(kind, f"{slot} from {node} for {seconds:.1f} s{', silently' if silent else ''}")
    cut = ExitStack()
    cut.enter_context(rig.cluster.network.severed(_client(slot), node, silent=silent))
    rig.later(seconds, cut.close)


def _for(rig: Rig, seconds: float, rules: Iterable[Rule]) -> None:
    for rule in rules:
        rig.cluster.network.add(rule)
        rig.later(seconds, lambda rule=rule: rig.cluster.network.remove(rule))


def _slot(rig: Rig, random: Random, *, one: bool = False) -> int | None:
    """A worker; or, unless it must be one, all of them (None)."""
    slots: list[int | None] = [*range(rig.options.workers)]
    return random.choice(slots if one else [*slots, None])


def _client(slot: int | None) -> str:
    return "slot-" if slot is None else f"slot-{slot}."
