"""Measured recovery: one fault at a time, with the time-outs that the product comes with."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from stream_infer.config.sections import BatchSettings
from tests.chaos.evidence import SCORED
from tests.chaos.recovery import Watch, coordinator_wait_s
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario

__all__ = ["FAULTS"]

_BROKER = "broker kill -9"
_PRODUCT = {"batch": {"max_events": BatchSettings().max_events}, "state": {"flush_interval_s": 10.0}}
_AS_SHIPPED: dict[str, Any] = {
    "rate": 1_000.0,
    "short_timeouts": False,
    "settings": _PRODUCT,
    "forked": False,
}


def _killed(rig: Rig, slot: int) -> Callable[[], None]:
    rig.workers[slot].kill()
    return lambda: _ready(rig, slot)


def _killed_and_restarted(rig: Rig, slot: int) -> Callable[[], None]:
    rig.workers[slot].kill()
    rig.restart(slot)
    return lambda: None


def _restarted(rig: Rig, slot: int) -> Callable[[], None]:
    worker = rig.workers[slot]
    rig.stopping.add(worker.pid)
    worker.signal(signal.SIGTERM)
    worker.process.wait(60)
    rig.restart(slot)
    return lambda: None


def _joined(rig: Rig, slot: int) -> Callable[[], None]:
    extra = rig.options.workers
    rig.start(extra)
    return lambda: None


def _left(rig: Rig, slot: int) -> Callable[[], None]:
    extra = rig.options.workers
    if extra >= rig.count or not rig.workers[extra].alive:
        rig.start(extra)
        _ready(rig, extra)
        rig.wait(5.0)
    rig.stopping.add(rig.workers[extra].pid)
    rig.workers[extra].signal(signal.SIGTERM)
    return lambda: None


def _broker_killed(rig: Rig, slot: int) -> Callable[[], None]:
    node = rig.cluster.leader_of(rig.topics.scored, slot) or 1
    rig.cluster.kill(node)
    return rig.cluster.heal


FAULTS: dict[str, Callable[[Rig, int], Callable[[], None]]] = {
    "worker kill -9, another process takes over": _killed,
    "worker kill -9, the same slot starts again": _killed_and_restarted,
    _BROKER: _broker_killed,
    "planned restart (SIGTERM)": _restarted,
    "a worker joins": _joined,
    "a worker leaves": _left,
}
"""Each strikes, and returns what to do once results are back."""


@scenario("recovery", faults=tuple(FAULTS), **_AS_SHIPPED)
def recovery(rig: Rig, random: Random) -> None:
    """One fault at a time; measured is how long results stay away."""
    while rig.goes_on():
        for kind in FAULTS:
            _measure(rig, random, kind)
            if not rig.goes_on():
                return


@scenario("recovery-brokers", faults=(_BROKER,), rounds=False, **_AS_SHIPPED)
def recovery_brokers(rig: Rig, random: Random) -> None:
    """The same of brokers alone: which one leads the cluster decides, so it takes many to know the slow ones."""
    while rig.goes_on():
        _measure(rig, random, _BROKER)


def _measure(rig: Rig, random: Random, kind: str) -> None:
    _calm(rig)
    slot = random.randrange(rig.options.workers)
    watch, began_s = Watch(rig), time.time()
    rig.fault(kind, slot)
    mend = FAULTS[kind](rig, slot)
    watch.wait()
    rig.measure(kind, watch.gap_s)
    if kind.startswith("a worker"):
        rig.measure(f"{kind}: delay of events, p99", float(np.quantile(watch.delays_s, 0.99)))
    if kind == _BROKER:
        waits_s = [coordinator_wait_s(worker.text(), began_s) for worker in rig.workers]
        rig.measure(f"{kind}: of it, until brokers have a transaction coordinator again", max(waits_s))
    mend()


def _calm(rig: Rig) -> None:
    """Wait until results keep up: the newest of each partition is younger than a second, for two seconds.

    Brokers are whole by then: of three copies, with one still away, the next fault would leave too few to write.
    """
    rig.cluster.wait_whole(rig.topics.names)
    calm_s, deadline = time.monotonic(), time.monotonic() + 120
    while time.monotonic() - calm_s < 2.0:
        assert time.monotonic() < deadline, "results do not keep up"
        rig.wait(0.2)
        ages = _ages(rig)
        if len(ages) < rig.options.partitions or max(ages.values()) > 1.5:
            calm_s = time.monotonic()


def _ages(rig: Rig) -> dict[int, float]:
    now, newest = time.time(), {}
    for part in rig.live.parts[-200:]:
        if part.kind[0] == SCORED:
            for p in np.unique(part.source_partition):
                newest[int(p)] = float(part.time_ms[part.source_partition == p].max()) / 1000
    return {p: now - at for p, at in newest.items()}


def _ready(rig: Rig, slot: int) -> None:
    if not rig.workers[slot].alive:
        rig.restart(slot)
    for _ in range(300):
        if rig.workers[slot].status().get("ready"):
            return
        rig.wait(0.2)
    raise TimeoutError(f"worker {slot} is not ready")
