"""One worker process of the rig, and what it uses.

Workers are forked from a server that has imported the product and done nothing else: a start costs a second of CPU
less, so that more of a run is faults and less is imports. Where starts are measured, each has its own interpreter.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.evidence import Sample
from tests.kafka.deployment import WorkerProcess

__all__ = ["ROOT", "ChaosWorker"]

ROOT = Path(__file__).resolve().parents[2]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1
_FRAMES = 5
_WORDS_LENGTH = 300
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tests.chaos.worker", "stream_infer.cli.run", "stream_infer.checks", "uvicorn"]
)


class ChaosWorker(WorkerProcess):
    """``python -m tests.chaos.worker run`` in a process of its own, with variables added to the environment."""

    process: Any

    def __init__(
        self, config: Path, log: Path, environment: Mapping[str, str], *, forked: bool = True
    ) -> None:
        self.log = log
        self.ready_s: float | None = None
        self.stopped = False
        log.touch()
        variables = {**os.environ, **environment}
        self.process = _Forked(config, log, variables) if forked else _started(config, log, variables)

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


def _started(config: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.worker", "run", "-c", str(config)]
    with log.open("ab") as sink:
        return subprocess.Popen(command, stdout=sink, stderr=sink, cwd=ROOT, env=environment)


class _Forked:
    """A forked worker with the face of ``subprocess.Popen``."""

    def __init__(self, config: Path, log: Path, environment: dict[str, str]) -> None:
        self._process = _FORKS.Process(target=_work, args=(str(config), str(log), environment))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Exit code, the negative number of a signal, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _work(config: str, log: str, environment: dict[str, str]) -> None:
    """In the child: become the worker."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(sink, descriptor)
    os.close(sink)
    from tests.chaos.worker import run  # noqa: PLC0415 - only the child runs the product

    run(["run", "-c", config])
