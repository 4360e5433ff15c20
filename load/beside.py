"""Whether a shadow can hurt its worker: the worker alone and beside a shadow in misery, in turns of some seconds.

One worker runs through; a shadow comes and goes beside it, so that both kinds of turns are as alike as can be, and the
spread of the turns says what a difference is worth. Before the first turn the worker has a minute, in which its
broker compiles itself. A turn beside a shadow that crash-loops begins when it has died so often that it waits by
itself: from then on it starts once in each of its own pauses, so a turn should be a whole number of them. Where nothing
waits by itself, the turn begins with the first start, when the pauses of an orchestrator are shortest. Brokers and
worker share their cores with the load, as they must on a small machine; the shadow is on the same cores, where its
``shadow.priority`` keeps it back, or on others. Each misery is also what is beside while a full topic is worked off.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from load.check import check
from load.drain import drain
from load.paced import Course, course_of
from load.processes import Strangers
from load.rivals import start, wait_ready
from load.stand import Run, Stand

__all__ = ["CRASHING", "DYING", "MISERIES", "Beside", "Turn", "apart", "beside"]

_WARM_S = 60.0
_SETTLE_S = 1.5
_SETUP_S = 10.0
_CRASH_S = 5.0
CRASHING = "crash-looping"
_BALLOON = """
from stream_infer.priority import give_way
give_way("idle")
held = []
while len(held) < 16:
    held.append(bytearray(64 * 1024 * 1024))
raise MemoryError
"""
"""A process that grows to a gigabyte, as a shadow that leaks, and is ended by its limit."""

_SPIN = """
from stream_infer.priority import give_way
give_way("idle")
while True:
    pass
"""
"""A process that computes and knows of no Kafka: what it does to the worker, the machine does."""


@dataclass(frozen=True)
class Turn:
    """What one turn measured: milliseconds from intended sending to receipt, and scored events received a second.

    ``broker_us`` and ``worker_us``: their CPU, user and system, for each event that was sent meanwhile. That of a
    shadow is not in it, its brokers' work is; a busy machine changes latencies, but hardly this.
    """

    beside: bool
    p50_ms: float
    p99_ms: float
    events_per_s: float
    broker_us: float
    worker_us: float


@dataclass(frozen=True)
class Beside:
    """The turns of a misery, and events a second of drains, alone and beside.

    ``orchestrator``: whose pauses what dies had before its restarts (again.py), ``own_pause_s``: its own
    (``shadow.restart_pause_s``); None where there were none. ``strangers``: CPU share of others.
    """

    misery: str
    orchestrator: str | None
    own_pause_s: float | None
    rate: float
    strangers: float
    turns: Sequence[Turn]
    drains: Sequence[tuple[float, float]]

    def values(self, name: str, *, beside: bool) -> list[float]:
        """One figure of all turns of a kind."""
        return [float(getattr(turn, name)) for turn in self.turns if turn.beside is beside]

    def change(self, name: str) -> float:
        """How the median beside differs from that alone, as a share of it."""
        return median(self.values(name, beside=True)) / median(self.values(name, beside=False)) - 1

    @property
    def drain_change(self) -> float | None:
        """The same of the drains, None where there are none."""
        if not self.drains:
            return None
        alone, together = zip(*self.drains, strict=True)
        return float(median(together) / median(alone) - 1)


def apart() -> tuple[int, ...]:
    """Keep this process, and all that it starts from now on, to the first half of its cores; returns the others.

    Raises RuntimeError where there is one core only.
    """
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    if not half:
        raise RuntimeError("there is one core only, so nothing can be kept apart: leave --apart out")
    os.sched_setaffinity(0, cores[:half])
    return tuple(cores[half:])


def beside(
    stand: Stand,
    misery: str,
    orchestrator: str,
    own_pause_s: float,
    rate: float,
    seconds: float,
    pairs: int,
    drain_events: int,
) -> Beside:
    """As many turns of ``seconds`` of each kind as ``pairs``; each event is received and checked: the rate was held."""
    candidate = stand.folder / "candidate"
    if not candidate.exists():
        stand.candidate()

    def misery_of(topic: str) -> AbstractContextManager[None]:
        return MISERIES[misery](_Scene(stand, topic, candidate, orchestrator, own_pause_s))

    topic = stand.topic("worker")
    worker = start(stand, "worker", topic)
    wait_ready(stand, worker, topic)
    turns = _Turns(misery_of, seconds, lambda: (stand.broker_cpu_s() or 0.0, worker.cpu_s()))
    dying_s = 2 * _CRASH_S if misery == CRASHING and own_pause_s else 0.0
    longest_s = _WARM_S + pairs * (2 * (seconds + _SETTLE_S) + _SETUP_S + dying_s)
    strangers = Strangers()
    with turns.run(topic):
        course = course_of(stand, topic, rate, longest_s)
    share, drains = strangers.share(), []
    worker.stop()
    check(stand, topic)
    if drain_events:
        for _ in range(pairs):
            alone = drain(stand, "worker", drain_events).events_per_second
            together = drain(stand, "worker", drain_events, beside=misery_of).events_per_second
            drains.append((alone, together))
    starter = orchestrator if misery in DYING else None
    own_s = own_pause_s if misery == CRASHING else None
    return Beside(misery, starter, own_s, rate, share, turns.measured(course), drains)


@dataclass(frozen=True)
class _Span:
    """From when to when a turn was, in epoch seconds, and CPU seconds of brokers and worker in it."""

    beside: bool
    begin_s: float
    end_s: float
    broker_s: float
    worker_s: float


class _Turns:
    """Puts the misery beside the worker and takes it away again, and remembers when which was the case.

    ``cpu_s``: CPU seconds of brokers and worker so far.
    """

    def __init__(
        self,
        misery: Callable[[str], AbstractContextManager[None]],
        turn_s: float,
        cpu_s: Callable[[], tuple[float, float]],
    ) -> None:
        self._misery = misery
        self._turn_s = turn_s
        self._cpu_s = cpu_s
        self._ended = threading.Event()
        self._spans: list[_Span] = []

    @contextmanager
    def run(self, topic: str) -> Iterator[None]:
        """Take turns in a thread until the end."""
        thread = threading.Thread(target=self._loop, args=(topic,))
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def measured(self, run: Course) -> list[Turn]:
        """What was received in each turn that is whole."""
        found = []
        received_ms = run.intended_ms + run.late_ms
        for span in self._spans:
            begin_ms, end_ms = span.begin_s * 1000, span.end_s * 1000
            if run.intended_ms.max() < end_ms:
                continue
            sent = (run.intended_ms >= begin_ms) & (run.intended_ms < end_ms)
            came = (received_ms >= begin_ms) & (received_ms < end_ms)
            p50, p99 = np.percentile(run.late_ms[sent], [50, 99])
            rate = float(came.sum() / (span.end_s - span.begin_s))
            broker_us, worker_us = (s / sent.sum() * 1e6 for s in (span.broker_s, span.worker_s))
            found.append(Turn(span.beside, float(p50), float(p99), rate, float(broker_us), float(worker_us)))
        if len({turn.beside for turn in found}) < 2:
            raise RuntimeError(
                "no whole turn of either kind: the machine is too busy, or there are too few pairs"
            )
        return found

    def _loop(self, topic: str) -> None:
        self._ended.wait(_WARM_S)
        while not self._ended.wait(_SETTLE_S):
            self._turn(is_beside=False)
            with self._misery(topic):
                self._ended.wait(_SETTLE_S)
                self._turn(is_beside=True)

    def _turn(self, *, is_beside: bool) -> None:
        begin_s, before = time.time(), self._cpu_s()
        if not self._ended.wait(self._turn_s):
            broker_s, worker_s = (now - then for now, then in zip(self._cpu_s(), before, strict=True))
            self._spans.append(_Span(is_beside, begin_s, time.time(), broker_s, worker_s))


@dataclass(frozen=True)
class _Scene:
    """Where a shadow is in misery, and who starts it again when it dies."""

    stand: Stand
    topic: str
    candidate: Path
    orchestrator: str
    own_pause_s: float

    def shadow(self, *, before: Sequence[str] = (), **environment: str) -> Run:
        return self.stand.shadow(self.topic, self.candidate, before=before, **environment)

    def again(self) -> tuple[str, ...]:
        """What goes before a command that dies and is started again."""
        return (sys.executable, "-m", "load.again", str(_CRASH_S), self.orchestrator)


@contextmanager
def _well(scene: _Scene) -> Iterator[None]:
    run = scene.shadow()
    run.wait_ready()
    yield
    run.stop()


@contextmanager
def _crashing(scene: _Scene) -> Iterator[None]:
    """Killed some seconds after each start, about when it is ready."""
    run = scene.shadow(before=scene.again(), SHADOW__RESTART_PAUSE_S=str(scene.own_pause_s))
    if scene.own_pause_s > _CRASH_S:  # else it never has to wait
        run.wait_says(" wait_s=")
    yield
    run.stop()


@contextmanager
def _hanging(scene: _Scene) -> Iterator[None]:
    run = scene.shadow()
    run.wait_ready()
    run.freeze()
    yield
    run.thaw()
    run.kill()


@contextmanager
def _slow(scene: _Scene) -> Iterator[None]:
    """Ten events a batch, so that each costs more than ten times as much."""
    run = scene.shadow(BATCH__MAX_EVENTS="10")
    run.wait_ready()
    yield
    run.kill()


@contextmanager
def _leaking(scene: _Scene) -> Iterator[None]:
    """A shadow, and a process of its kind that takes a gigabyte and dies, again and again."""
    with _well(scene):
        balloon = scene.stand.aside("balloon", [*scene.again(), sys.executable, "-c", _BALLOON])
        yield
        balloon.stop()


@contextmanager
def _spinning(scene: _Scene) -> Iterator[None]:
    """No shadow at all."""
    spin = scene.stand.aside("spin", [sys.executable, "-c", _SPIN])
    yield
    spin.kill()


MISERIES: dict[str, Callable[[_Scene], AbstractContextManager[None]]] = {
    "well": _well,
    CRASHING: _crashing,
    "hanging": _hanging,
    "10x slower": _slow,
    "out of memory": _leaking,
    "a busy neighbour": _spinning,
}
"""What may be the matter with a shadow; the last is no shadow, for comparison."""

DYING = frozenset({CRASHING, "out of memory"})
"""In which of them something dies and is started again."""
