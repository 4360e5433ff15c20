"""Drain: a topic filled beforehand is worked off as fast as the program can."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka import Consumer

from load.check import check
from load.events import USUAL
from load.measurement import Measurement
from load.paced import Beside
from load.processes import Strangers
from load.rivals import start
from load.stages import Stages, stages_between, worked_on
from load.stand import Run, Stand
from load.topics import committed_count, end_count, group
from load.traffic import Traffic

__all__ = ["Drain", "drain", "watch"]

_LOOK_S = 0.02
_LONGEST_S = 300.0


@dataclass(frozen=True)
class Drain:
    """One run: rates from the times at which results were written, CPU and stages while they were."""

    program: str
    events: int
    events_per_second: float
    second_half_per_second: float
    cpu_us_per_event: float
    peak_rss_mib: float
    broker_us_per_event: float | None = None
    stages: Stages = field(default_factory=Stages)
    strangers: float = 0.0

    def measurement(self, scenario: str, case: str) -> Measurement:
        """The same as figures of a scenario."""
        figures = {
            "events_per_s": self.events_per_second,
            "second_half_per_s": self.second_half_per_second,
            "cpu_us_per_event": self.cpu_us_per_event,
            "peak_rss_mib": self.peak_rss_mib,
            **broker_figure(self.broker_us_per_event),
            **self.stages.figures(),
        }
        return Measurement(
            scenario, case, self.program, self.events, figures, self.stages.us_per_event, self.strangers
        )


def drain(
    stand: Stand,
    program: str,
    events: int,
    *,
    traffic: Traffic = USUAL,
    measured_from: float = 0.0,
    beside: Beside = lambda _: nullcontext(),
    **settings: str,
) -> Drain:
    """Fill a new topic, let ``program`` (``worker`` or a rival) work it off, check every score.

    ``measured_from``: the share of the events after which CPU and stages are measured; from the first one by default.
    ``beside``: what else goes on meanwhile.
    """
    topic = stand.topic(program, traffic=traffic)
    stand.fill(topic, events)
    strangers = Strangers()
    with beside(topic):
        run = start(stand, program, topic, **settings)
        try:
            seen = watch(stand, [run], topic, events, int(events * measured_from))
            share = strangers.share()
        finally:
            run.stop()
    written = np.sort(check(stand, topic).written_ms) / 1000
    return Drain(
        program,
        events,
        rate(written),
        rate(written[len(written) // 2 :]),
        seen.cpu_s / (events - seen.began) * 1e6,
        seen.peak_rss_bytes / 2**20,
        None if seen.broker_cpu_s is None else seen.broker_cpu_s / (events - seen.began) * 1e6,
        seen.stages,
        share,
    )


@dataclass(frozen=True)
class Watched:
    """What was seen between the first reading, when ``began`` events were done, and the end."""

    began: int
    cpu_s: float
    peak_rss_bytes: int
    broker_cpu_s: float | None
    stages: Stages


def watch(stand: Stand, runs: Sequence[Run], topic: str, events: int, after: int = 0) -> Watched:
    """Wait until a topic's group has committed ``events``; measure from when more than ``after`` are done.

    What is over at the first look is measured from the programs' start.
    Raises RuntimeError when a program ends, or all of them take too long.
    """
    watcher = Consumer(
        {"bootstrap.servers": stand.servers, "group.id": group(topic), "enable.auto.commit": False}
    )
    deadline = time.monotonic() + _LONGEST_S
    first = _Reading(0, 0.0, 0, stand.broker_cpu_s(), [{} for _ in runs])
    try:
        while (done := committed_count(watcher, topic)) < events:
            if not first.done:
                began = min(events - 1, max(done, end_count(watcher, f"{topic}.scored")))
                if began > after:
                    now = _Reading.of(stand, runs, began)
                    # the last of them may be worked on and not committed: nothing would be left to measure
                    first = now if worked_on(now.metrics) < events else first
            for run in runs:
                run.check()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{topic}: {done} of {events} events after {_LONGEST_S:.0f} s\n{runs[0].text()[-2000:]}"
                )
            time.sleep(_LOOK_S)
    finally:
        watcher.close()
    return _between(first, _Reading.of(stand, runs, events))


@dataclass(frozen=True)
class _Reading:
    """What programs and brokers had used by the time that ``done`` events were done."""

    done: int
    cpu_s: float
    peak_rss_bytes: int
    broker_cpu_s: float | None
    metrics: Sequence[Mapping[str, float]]

    @classmethod
    def of(cls, stand: Stand, runs: Sequence[Run], done: int) -> _Reading:
        used = [run.usage() for run in runs]
        cpu_s, peak_rss_bytes = sum(one.cpu_s for one in used), sum(one.peak_rss_bytes for one in used)
        return cls(done, cpu_s, peak_rss_bytes, stand.broker_cpu_s(), [run.metrics() for run in runs])


def _between(first: _Reading, last: _Reading) -> Watched:
    broker_s = (first.broker_cpu_s, last.broker_cpu_s)
    return Watched(
        first.done,
        last.cpu_s - first.cpu_s,
        last.peak_rss_bytes,
        None if broker_s[0] is None or broker_s[1] is None else broker_s[1] - broker_s[0],
        stages_between(first.metrics, last.metrics),
    )


def broker_figure(us_per_event: float | None) -> dict[str, float]:
    """The brokers' CPU as a figure, where it is known."""
    return {} if us_per_event is None else {"broker_us_per_event": us_per_event}


def rate(written_s: np.ndarray) -> float:
    """Results a second from their times, sorted."""
    return float((len(written_s) - 1) / max(1e-3, written_s[-1] - written_s[0]))
