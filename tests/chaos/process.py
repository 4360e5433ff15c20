"""One worker process of the rig, and what it uses.

Workers are forked (``tests.program``). Where starts are measured, each has its own interpreter.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.chaos.evidence import Sample
from tests.kafka.deployment import WorkerProcess
from tests.program import fork

__all__ = ["ROOT", "ChaosWorker"]

ROOT = Path(__file__).resolve().parents[2]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FRAMES = 5
_WORDS_LENGTH = 300


class ChaosWorker(WorkerProcess):
    """``python -m tests.chaos.worker run`` in a process of its own, with variables added to the environment."""

    def __init__(
        self, config: Path, log: Path, environment: Mapping[str, str], *, forked: bool = True
    ) -> None:
        self.log = log
        self.ready_s: float | None = None
        self.stopped = False
        log.touch()
        arguments = ["run", "-c", config]
        if forked:
            self.process = fork(arguments, log, log, environment=environment, folder=ROOT, main=_main)
        else:
            command = [sys.executable, "-m", "tests.chaos.worker", *map(str, arguments)]
            variables = {**os.environ, **environment}
            with log.open("ab") as sink:
                self.process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=ROOT, env=variables)

    @property
    def alive(self) -> bool:
        """Whether the process runs (also when it is stopped)."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        if self.alive:
            self.process.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP."""
        self.stopped = True
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.stopped = False
        self.signal(signal.SIGCONT)

    def limit_files(self, size_bytes: int | None) -> None:
        """As a full disk does, fail every write that makes a file longer than this; None: no limit."""
        if self.alive:
            soft = resource.RLIM_INFINITY if size_bytes is None else size_bytes
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    def stack(self) -> str:
        """Where the owner thread of a stalled worker was, innermost first: what the watchdog wrote last."""
        frames = self.text().rpartition("Thread 0x")[2].splitlines()[1:]
        return " < ".join(
            frame.strip().replace(f"{ROOT}/", "").removeprefix("File ") for frame in frames[:_FRAMES]
        )

    def last_words(self) -> str:
        """The error that a worker named when it ended by itself, or its last line."""
        lines = self.text().splitlines() or [""]
        return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])[
            :_WORDS_LENGTH
        ]

    def sample(self) -> Sample | None:
        """What it uses now; None before it was ready for the first time, and when it has ended."""
        if self.ready_s is None:
            if self.status().get("ready"):
                self.ready_s = time.monotonic()
            return None
        home = Path(f"/proc/{self.pid}")
        try:
            fields = (home / "stat").read_text().rpartition(")")[2].split()
            descriptors = len(list((home / "fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        age_s = time.monotonic() - self.ready_s
        return Sample(self.pid, age_s, int(fields[21]) * _PAGE_BYTES, int(fields[17]), descriptors)


def _main(arguments: Sequence[str]) -> None:
    from tests.chaos.worker import run  # noqa: PLC0415 - only the child runs the product

    run(arguments)
