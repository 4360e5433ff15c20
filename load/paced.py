"""Paced: how late scores are at a steady rate, from the intended sending of an event to its receipt.

Open loop: a slow worker does not slow the sender, so its queue shows in the latency. The receiver is a read_committed
consumer, as downstream services are.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from confluent_kafka import Message, TopicPartition

from load.check import check, reader, scored_columns, scored_decoder
from load.measurement import Measurement
from load.processes import Strangers
from load.rivals import start, wait_ready
from load.stages import Stages, stages_between
from load.stand import Stand
from load.topics import PARTITIONS

__all__ = ["Beside", "Course", "Paced", "course_of", "paced"]

_WARM_S = 2.0
_GRACE_S = 60.0


@dataclass(frozen=True)
class Paced:
    """One run: latencies in milliseconds after the first two seconds."""

    program: str
    rate: float
    events: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us_per_event: float
    peak_rss_mib: float = 0.0
    stages: Stages = field(default_factory=Stages)
    strangers: float = 0.0

    def measurement(self, scenario: str, case: str) -> Measurement:
        """The same as figures of a scenario."""
        figures = {
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "cpu_us_per_event": self.cpu_us_per_event,
            "peak_rss_mib": self.peak_rss_mib,
            **self.stages.figures(),
        }
        return Measurement(
            scenario, case, self.program, self.events, figures, self.stages.us_per_event, self.strangers
        )


Beside = Callable[[str], AbstractContextManager[object]]
"""What else goes on while a topic is worked on."""


@dataclass(frozen=True)
class Course:
    """Every event of a run: when it was to be sent, and how much later it came, in ms."""

    intended_ms: np.ndarray
    late_ms: np.ndarray

    @classmethod
    def of(cls, received: Sequence[tuple[float, list[Message]]]) -> Self:
        """Batches of scored events with the time of their receipt in ms."""
        decoder = scored_decoder()
        late_ms, intended_ms = [], []
        for now_ms, messages in received:
            _, times, _ = scored_columns(messages, decoder)
            late_ms.append(now_ms - times)
            intended_ms.append(times)
        return cls(np.concatenate(intended_ms), np.concatenate(late_ms))


def paced(stand: Stand, program: str, rate: float, seconds: float, **settings: str) -> Paced:
    """Send at a rate for some seconds and receive every scored event."""
    topic = stand.topic(program)
    total = int(rate * seconds)
    run = start(stand, program, topic, **settings)
    wait_ready(stand, run, topic)
    first, before = run.usage(), run.metrics()
    strangers = Strangers()
    course = course_of(stand, topic, rate, seconds)
    share, last, stages = strangers.share(), run.usage(), stages_between([before], [run.metrics()])
    run.stop()
    check(stand, topic)
    warm = course.intended_ms >= course.intended_ms.min() + _WARM_S * 1000
    p50, p99, p999 = np.percentile(course.late_ms[warm], [50, 99, 99.9])
    cpu_us = (last.cpu_s - first.cpu_s) / total * 1e6
    rss_mib = last.peak_rss_bytes / 2**20
    return Paced(program, rate, total, float(p50), float(p99), float(p999), cpu_us, rss_mib, stages, share)


def course_of(stand: Stand, topic: str, rate: float, seconds: float) -> Course:
    """Send to a topic at a rate for some seconds and receive every scored event."""
    gc.disable()  # the receiver keeps every message; its own collections are not the worker's latency
    try:
        return Course.of(_receive(stand, topic, rate, seconds))
    finally:
        gc.enable()


def _receive(stand: Stand, topic: str, rate: float, seconds: float) -> list[tuple[float, list[Message]]]:
    """Batches of scored events with the time of their receipt in ms."""
    consumer = reader(stand.servers)
    consumer.assign([TopicPartition(f"{topic}.scored", p, 0) for p in range(PARTITIONS)])
    consumer.consume(1, 0.5)
    command = [sys.executable, "-m", "load.send", stand.servers, topic, str(rate), str(seconds)]
    total, count = int(rate * seconds), 0
    received = []
    deadline = time.monotonic() + seconds + _GRACE_S
    with subprocess.Popen(command) as sender:
        while count < total:
            found = consumer.poll(0.1)
            messages = [] if found is None else [found, *consumer.consume(1000, 0)]
            now_ms = time.time() * 1000
            good = [message for message in messages if message.error() is None]
            if good:
                received.append((now_ms, good))
                count += len(good)
            if time.monotonic() > deadline or sender.poll():
                raise RuntimeError(
                    f"{topic}: {count} of {total} scored events after {seconds + _GRACE_S:.0f} s"
                )
    consumer.close()
    return received
