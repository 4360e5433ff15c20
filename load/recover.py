"""Recover: how long scores of a partition stay away after a fault, at a steady rate.

Two workers share the topic. The gap is the longest time without a new readable score in any partition, from the fault
on; it holds the detection, the hand-over, the restore and the replay.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from confluent_kafka import TopicPartition

from load.check import check, reader
from load.stand import PARTITIONS, Run, Stand

__all__ = ["FAULTS", "Recovery", "recover"]

_RATE = 2_000.0
_FAULT_AFTER_S = 5.0
_SECONDS = 30.0
_GRACE_S = 60.0

Start = Callable[[str], Run]


@dataclass(frozen=True)
class Recovery:
    """The longest gap of one run, in seconds."""

    fault: str
    protocol: str
    gap_s: float


def _killed(workers: list[Run], start: Start) -> None:  # noqa: ARG001 - the others take over
    workers[0].kill()


def _killed_and_restarted(workers: list[Run], start: Start) -> None:
    workers[0].kill()
    start("0")


def _stopped(workers: list[Run], start: Start) -> None:  # noqa: ARG001 - the others take over
    workers[0].stop()


def _joined(workers: list[Run], start: Start) -> None:  # noqa: ARG001 - one more comes
    start("2")


FAULTS: dict[str, Callable[[list[Run], Start], None]] = {
    "kill -9, another worker takes over": _killed,
    "kill -9, the same slot starts again": _killed_and_restarted,
    "SIGTERM, another worker takes over": _stopped,
    "a third worker joins": _joined,
}


def recover(stand: Stand, fault: str, protocol: str) -> Recovery:
    """Run one fault under load, check every event, and return the gap."""
    topic = stand.topic("recover")

    def start(slot: str) -> Run:
        return stand.worker(topic, DELIVERY__SLOT=slot, KAFKA__GROUP_PROTOCOL=protocol)

    workers = [start("0"), start("1")]
    for worker in workers:
        worker.wait_ready()
    time.sleep(2)  # both have their share by now
    arrivals, fault_at = _receive(stand, topic, lambda: FAULTS[fault](workers, start))
    check(stand, topic)
    gaps = [np.diff([at for at in times if at >= fault_at - 0.5]).max(initial=0.0) for times in arrivals]
    return Recovery(fault, protocol, float(max(gaps)))


def _receive(stand: Stand, topic: str, strike: Callable[[], None]) -> tuple[list[list[float]], float]:
    """Times of receipt per partition, and when the fault struck."""
    consumer = reader(stand.servers)
    consumer.assign([TopicPartition(f"{topic}.scored", p, 0) for p in range(PARTITIONS)])
    arrivals: list[list[float]] = [[] for _ in range(PARTITIONS)]
    total, count, fault_at = int(_RATE * _SECONDS), 0, 0.0
    command = [sys.executable, "-m", "load.send", stand.servers, topic, str(_RATE), str(_SECONDS)]
    began = time.monotonic()
    with subprocess.Popen(command):
        while count < total:
            for message in consumer.consume(1000, 0.02):
                if message.error() is None:
                    arrivals[message.partition() or 0].append(time.monotonic())
                    count += 1
            now = time.monotonic()
            if not fault_at and now - began > _FAULT_AFTER_S:
                fault_at = now
                threading.Thread(target=strike).start()  # a stop takes its time, and receipt goes on
            if now - began > _SECONDS + _GRACE_S:
                raise RuntimeError(f"{topic}: {count} of {total} scored events")
    consumer.close()
    return arrivals, fault_at
