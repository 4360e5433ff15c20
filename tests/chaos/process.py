"""One worker process of the rig, and what it uses."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.chaos.evidence import Sample
from tests.kafka.deployment import WorkerProcess

__all__ = ["ROOT", "ChaosWorker"]

ROOT = Path(__file__).resolve().parents[2]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ChaosWorker(WorkerProcess):
    """``python -m tests.chaos.worker run`` in a process of its own, with the environment given."""

    def __init__(self, config: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self.started_s = time.monotonic()
        self.stopped = False
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", "run", "-c", config],
                stdout=sink,
                stderr=sink,
                cwd=ROOT,
                env={**os.environ, **environment},
            )

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

    def sample(self) -> Sample | None:
        """What it uses now; None when it has ended."""
        home = Path(f"/proc/{self.pid}")
        try:
            fields = (home / "stat").read_text().rpartition(")")[2].split()
            descriptors = len(list((home / "fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        age_s = time.monotonic() - self.started_s
        return Sample(self.pid, age_s, int(fields[21]) * _PAGE_BYTES, int(fields[17]), descriptors)
