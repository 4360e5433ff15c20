"""Whether a shadow can hurt its worker: latency of the worker alone and beside a shadow in misery, in turns.

Both share the machine and its brokers, so this is the worst case: on cores of its own a shadow takes less. The shadow's
niceness is that of its settings (``shadow.nice``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from load.paced import Paced, paced
from load.stand import Run, Stand

__all__ = ["MISERIES", "Beside", "beside"]

_BALLOON = """
from stream_infer.shadow.courtesy import give_way
give_way(10)
held = []
while len(held) < 16:
    held.append(bytearray(64 * 1024 * 1024))
raise MemoryError
"""
"""A process that grows to a gigabyte, as a shadow that leaks, and is ended by its limit."""


@dataclass(frozen=True)
class Beside:
    """Medians of several runs; milliseconds from intended sending to receipt, and events received a second."""

    misery: str
    alone_p99_ms: float
    beside_p99_ms: float
    alone_p50_ms: float
    beside_p50_ms: float

    def __str__(self) -> str:
        return (
            f"{self.misery}: p50 {self.alone_p50_ms:.0f} -> {self.beside_p50_ms:.0f} ms, "
            f"p99 {self.alone_p99_ms:.0f} -> {self.beside_p99_ms:.0f} ms "
            f"({self.beside_p99_ms / self.alone_p99_ms - 1:+.0%})"
        )


def beside(stand: Stand, misery: str, rate: float, seconds: float, repeats: int) -> Beside:
    """Pairs of runs; every run's scores are received and checked, so the rate was held."""
    candidate = stand.folder / "candidate"
    if not candidate.exists():
        stand.candidate()
    alone: list[Paced] = []
    together: list[Paced] = []

    def misery_of(topic: str) -> AbstractContextManager[None]:
        return MISERIES[misery](stand, topic, candidate)

    for _ in range(repeats):
        alone.append(paced(stand, "worker", rate, seconds))
        together.append(paced(stand, "worker", rate, seconds, beside=misery_of))
    return Beside(
        misery,
        median(run.p99_ms for run in alone),
        median(run.p99_ms for run in together),
        median(run.p50_ms for run in alone),
        median(run.p50_ms for run in together),
    )


@contextmanager
def _well(stand: Stand, topic: str, candidate: Path) -> Iterator[None]:
    run = stand.shadow(topic, candidate)
    run.wait_ready()
    yield
    run.stop()


@contextmanager
def _crashing(stand: Stand, topic: str, candidate: Path) -> Iterator[None]:
    """Killed as soon as it is ready, and started again."""

    def once() -> None:
        run = stand.shadow(topic, candidate)
        run.wait_ready()
        run.kill()

    with _again_and_again(once):
        yield


@contextmanager
def _hanging(stand: Stand, topic: str, candidate: Path) -> Iterator[None]:
    run = stand.shadow(topic, candidate)
    run.wait_ready()
    run.freeze()
    yield
    run.thaw()
    run.kill()


@contextmanager
def _slow(stand: Stand, topic: str, candidate: Path) -> Iterator[None]:
    """Ten events a batch, so that each costs more than ten times as much."""
    run: Run = stand.shadow(topic, candidate, BATCH__MAX_EVENTS="10")
    run.wait_ready()
    yield
    run.kill()


@contextmanager
def _leaking(stand: Stand, topic: str, candidate: Path) -> Iterator[None]:
    """A shadow, and a process of its kind that takes a gigabyte and dies, again and again."""
    with (
        _well(stand, topic, candidate),
        _again_and_again(
            lambda: subprocess.run([sys.executable, "-c", _BALLOON], capture_output=True, check=False)
        ),
    ):
        yield


@contextmanager
def _again_and_again(once: Callable[[], object]) -> Iterator[None]:
    ended = threading.Event()

    def loop() -> None:
        while not ended.is_set():
            once()

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    ended.set()
    thread.join()


MISERIES = {
    "well": _well,
    "crash-looping": _crashing,
    "hanging": _hanging,
    "10x slower": _slow,
    "out of memory": _leaking,
}
"""What may be the matter with a shadow."""
