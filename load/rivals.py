"""The rivals: how each is started, and whether it can be.

Each is a program of load/peers that takes servers, topic, group, model and schema, and works until it is told to end.
Those with packages of their own live in environments of their own (``make bench-peers`` makes them).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.stand import Run, Stand
from load.topics import wait_members

__all__ = ["ENVIRONMENTS", "RIVALS", "Rival", "start", "wait_ready"]

ENVIRONMENTS = Path(".venv-peers")
"""Where the environments of rivals are, one folder each."""


def _nothing() -> str | None:
    return None


@dataclass(frozen=True)
class Rival:
    """A program to compare with.

    ``mode``: what it promises. ``holds_per_s``: the steady rate that it is tried with at most. ``size``: of its drains,
    so that each takes some seconds; 1 for one as fast as the plain loop. ``measured_from``: the share of a drain after
    which its CPU is measured; a JVM compiles as it runs. ``lacks``: why it cannot run here, or None.
    """

    command: Sequence[Any]
    mode: str = "exactly_once"
    holds_per_s: float = 10_000
    size: float = 1.0
    measured_from: float = 0.0
    lacks: Callable[[], str | None] = _nothing


def _own(name: str, mode: str, holds_per_s: float, size: float) -> Rival:
    python = ENVIRONMENTS / name / "bin" / "python"

    def lacks() -> str | None:
        return None if python.exists() else f"{name} is not installed: run `make bench-peers` once"

    return Rival([python, "-m", f"load.peers.{name}"], mode, holds_per_s, size, lacks=lacks)


def _no_javac() -> str | None:
    return None if shutil.which("javac") else "no javac on the path: install a JDK, 17 or newer"


RIVALS = {
    "plain": Rival([sys.executable, "-m", "load.peers.plain"]),
    "quix": _own("quix", "exactly_once", 10_000, 0.5),
    "faust": _own("faust", "exactly_once", 2_000, 0.1),
    "faststream": _own("faststream", "at_least_once", 10_000, 0.5),
    "kafka_streams": Rival(
        [sys.executable, "-m", "load.peers.kafka_streams"],
        holds_per_s=30_000,
        size=6,
        measured_from=0.5,
        lacks=_no_javac,
    ),
}
"""By name."""


def start(stand: Stand, program: str, topic: str, **settings: str) -> Run:
    """Start the worker (with these settings) or a rival on a topic."""
    if program == "worker":
        return stand.worker(topic, **settings)
    return stand.rival(program, RIVALS[program].command, topic)


def wait_ready(stand: Stand, run: Run, topic: str) -> None:
    """Wait until the worker says that it is ready, or the rival has its partitions."""
    if run.name.startswith("worker-"):
        run.wait_ready()
    else:
        wait_members(stand.servers, topic, 1)
