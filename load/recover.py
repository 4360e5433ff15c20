"""Recover: how long scores stay away, and how late events are, after faults under a steady load.

One stand, one topic, one stream of events; faults strike one after the other, and every event is checked at the end.
The time in an event is when it was to be sent, so its delay holds whatever kept it: detection, hand-over, restore,
replay, and the work on what had gathered meanwhile. The gap of a fault is the longest time in which some partition
had no new readable score.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import TopicPartition
from numpy.typing import NDArray

from load.check import check, reader, scored_columns, scored_decoder
from load.stand import Run, Stand
from load.topics import end_count

__all__ = ["FAULTS", "Load", "Recovery", "recover"]

_BEFORE_S = 5.0
_GRACE_S = 90.0
_AT_ONCE = 5_000
_SHORTLY_S = 0.5
_LINGER_MS = 10


@dataclass(frozen=True)
class Load:
    """What goes on while faults strike; ``settle_s`` is the time from one to the next."""

    rate: float = 20_000.0
    partitions: int = 12
    workers: int = 3
    settle_s: float = 15.0
    protocol: str = "consumer"
    mode: str = "exactly_once"


@dataclass(frozen=True)
class Recovery:
    """One fault: the longest gap, and the delays of the events sent from it on until the next one, in seconds."""

    fault: str
    gap_s: float
    p50_s: float
    p99_s: float
    max_s: float


@dataclass
class _Scene:
    """The workers by slot, the stand they are on, and what has happened to them."""

    stand: Stand
    topic: str
    load: Load
    workers: dict[str, Run] = field(default_factory=dict)
    strikes: list[tuple[str, float]] = field(default_factory=list)

    def start(self, slot: str) -> Run:
        self.workers[slot] = self.stand.worker(
            self.topic,
            DELIVERY__SLOT=slot,
            DELIVERY__MODE=self.load.mode,
            KAFKA__GROUP_PROTOCOL=self.load.protocol,
        )
        return self.workers[slot]

    def strike_all(self, faults: Sequence[str]) -> None:
        """Let these faults happen one after the other."""
        for fault in faults:
            self.strikes.append((fault, time.time()))
            FAULTS[fault](self)
            time.sleep(self.load.settle_s)


def _joined(scene: _Scene) -> None:
    scene.start("more").wait_ready()


def _left(scene: _Scene) -> None:
    scene.workers.pop("more").stop()


def _restarted(scene: _Scene) -> None:
    scene.workers["0"].stop()
    scene.start("0").wait_ready()


def _killed(scene: _Scene) -> None:
    scene.workers.pop("more").kill()


def _killed_and_restarted(scene: _Scene) -> None:
    scene.workers["0"].kill()
    scene.start("0").wait_ready()


def _broker_killed(scene: _Scene) -> None:
    node = 1 + len(scene.strikes) % scene.stand.nodes
    scene.stand.kill_broker(node)
    time.sleep(scene.load.settle_s)
    scene.stand.restart_broker(node)


FAULTS: dict[str, Callable[[_Scene], None]] = {
    "join": _joined,
    "leave": _left,
    "restart": _restarted,
    "kill": _killed,
    "kill and restart": _killed_and_restarted,
    "broker kill": _broker_killed,
}
"""A worker joins; that worker is stopped (SIGTERM); one is stopped and starts again; the joined one is killed (-9); one
is killed and starts again; a broker is killed (-9), and comes back later."""


def plan(faults: Sequence[str], repeats: int) -> list[str]:
    """The order of the faults: what strikes the worker that joined comes after a join."""
    order: list[str] = []
    for _ in range(repeats):
        for fault in faults:
            if fault in {"leave", "kill"}:
                order += ["join", fault]
            elif fault != "join" or not {"leave", "kill"} & set(faults):
                order += ["join", "leave"] if fault == "join" else [fault]
    return order


def recover(stand: Stand, load: Load, faults: Sequence[str], repeats: int) -> list[Recovery]:
    """Strike in turn under load, check every event, and say how each fault went."""
    scene = _Scene(stand, stand.topic("recover", load.partitions), load)
    for slot in range(load.workers - 1):
        scene.start(str(slot)).wait_ready()
    order = plan(faults, repeats)
    events = _Events(stand.servers, scene.topic, load.partitions)
    striking = threading.Thread(target=scene.strike_all, args=(order,))
    command = [sys.executable, "-m", "load.send", stand.servers, scene.topic, str(load.rate)]
    with subprocess.Popen([*command, "3600", str(load.partitions), str(_LINGER_MS)]) as sender:
        try:
            events.receive(until=time.monotonic() + _BEFORE_S)
            striking.start()
            while striking.is_alive():
                events.receive(until=time.monotonic() + 1)
        finally:
            sender.terminate()
    events.receive_rest(time.monotonic() + _GRACE_S)
    check(stand, scene.topic)
    return list(_recoveries(scene.strikes, events))


class _Events:
    """Reads scores as any consumer would, and notes of each when it came and how late."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._decoder = scored_decoder()
        self._consumer = reader(servers)
        self._topic = topic
        self._parts: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]] = []
        self._count = 0
        self._consumer.assign([TopicPartition(f"{topic}.scored", p, 0) for p in range(partitions)])

    def receive(self, until: float) -> None:
        """Read until then."""
        while time.monotonic() < until:
            messages = [m for m in self._consumer.consume(_AT_ONCE, 0.02) if m.error() is None]
            if messages:
                now = time.time()
                _, time_ms, batch = scored_columns(messages, self._decoder)
                sent = time_ms / 1000
                self._parts.append((np.full(len(sent), now), sent, batch.partition))
                self._count += len(messages)

    def receive_rest(self, deadline: float) -> None:
        """Read until every event of the input is there. Raises RuntimeError when they do not come."""
        total = end_count(self._consumer, self._topic)
        while self._count < total:
            self.receive(until=time.monotonic() + 0.2)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._topic}: {self._count} of {total} scored events")
        self._consumer.close()

    def columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
        """When each event came, when it was sent, and its partition."""
        came, sent, partition = zip(*self._parts, strict=True)
        return np.concatenate(came), np.concatenate(sent), np.concatenate(partition)


def _recoveries(strikes: Sequence[tuple[str, float]], events: _Events) -> Iterator[Recovery]:
    came, sent, partition = events.columns()
    ends = [at for _, at in strikes[1:]] + [float(sent.max())]
    for (fault, at), end in zip(strikes, ends, strict=True):
        delays = (came - sent)[(sent >= at) & (sent < end)]
        p50, p99, most = np.percentile(delays, [50, 99, 100])
        gaps = [_gap_s(came[partition == number], at, end) for number in np.unique(partition)]
        yield Recovery(fault, max(gaps), float(p50), float(p99), float(most))


def _gap_s(came: NDArray[np.float64], at: float, end: float) -> float:
    """The longest time without a new score that began after half a second before a fault, and before that of the next.

    The last score before a fault is some milliseconds older than the fault.
    """
    began = came[:-1]
    return float(np.diff(came)[(began >= at - _SHORTLY_S) & (began < end - _SHORTLY_S)].max(initial=0.0))
