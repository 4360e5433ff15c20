"""Drain: a topic filled beforehand is worked off as fast as the program can."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer

from load.check import check
from load.stand import Run, Stand, committed_count, end_count, group

__all__ = ["Drain", "drain", "watch"]

_LOOK_S = 0.02
_LONGEST_S = 300.0


@dataclass(frozen=True)
class Drain:
    """One run: rates from the times at which results were written, CPU while they were."""

    program: str
    events: int
    events_per_second: float
    second_half_per_second: float
    cpu_us_per_event: float
    peak_rss_mib: float


def drain(stand: Stand, program: str, events: int, **settings: str) -> Drain:
    """Fill a new topic, let ``program`` (``worker`` or a peer's module) work it off, check every score."""
    topic = stand.topic(program)
    stand.fill(topic, events)
    run = stand.worker(topic, **settings) if program == "worker" else stand.peer(program, topic, events)
    watcher = Consumer(
        {"bootstrap.servers": stand.servers, "group.id": group(topic), "enable.auto.commit": False}
    )
    try:
        began, cpu_s, rss = watch(run, watcher, topic, events)
    finally:
        watcher.close()
        run.stop()
    scored = check(stand, topic)
    written = np.sort(scored.written_ms) / 1000
    half = written[len(written) // 2 :]
    return Drain(
        program,
        events,
        (len(written) - 1) / max(1e-3, written[-1] - written[0]),
        (len(half) - 1) / max(1e-3, half[-1] - half[0]),
        cpu_s / (events - began) * 1e6,
        rss / 2**20,
    )


def watch(run: Run, watcher: Consumer, topic: str, events: int) -> tuple[int, float, int]:
    """Wait until all events are committed; returns three numbers.

    Events already written when the CPU clock was first read, CPU seconds from then to the end, peak memory.
    """
    deadline = time.monotonic() + _LONGEST_S
    began, first_cpu_s, cpu_s, rss = 0, 0.0, 0.0, 0
    while True:
        if began == 0:
            began = min(events - 1, end_count(watcher, f"{topic}.scored"))
            first_cpu_s = run.cpu_s() if began else 0.0
        done = committed_count(watcher, topic)
        try:
            cpu_s, rss = run.cpu_s(), run.peak_rss_bytes()
        except (FileNotFoundError, StopIteration):  # a peer ends by itself
            done = done or committed_count(watcher, topic)
        if done >= events:
            return began, cpu_s - first_cpu_s, rss
        run.check()
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{run.name}: {done} of {events} events after {_LONGEST_S:.0f} s\n{run.text()[-2000:]}"
            )
        time.sleep(_LOOK_S)
