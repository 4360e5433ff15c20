"""The programs of the demo, each a process with a log."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stream_infer.embedded.process import Supervisor, last_lines
from stream_infer.errors import WorkerError

__all__ = ["Programs"]

_LOOK_S = 0.05
_LOG_LINES = 15


class Programs:
    """Starts programs by name, and says of each that ended by itself what its last words were."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self._supervisor = supervisor
        self._folder = folder
        self._running: set[str] = set()

    def launch(self, name: str, *arguments: str) -> None:
        """Start a command of this program."""
        self.start(name, sys.executable, "-c", "from stream_infer.cli import main; main()", *arguments)

    def start(self, name: str, *command: str) -> None:
        """Start any program."""
        self._supervisor.start(name, list(command), self.log(name))
        self._running.add(name)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self._supervisor.send(name, number)

    def status(self, name: str) -> int | None:
        """Return how it ended; None while it runs."""
        return self._supervisor.status(name)

    def check(self) -> None:
        """Raise WorkerError for one that ended by itself; the producer may, when it is done."""
        for name in sorted(self._running):
            status = self._supervisor.status(name)
            if status is not None and (name, status) != ("producer", 0):
                raise WorkerError(f"the {name} ended by itself (status {status}):\n{self.last_lines(name)}")

    def finish(self, name: str, timeout_s: float, meanwhile: Callable[[], None]) -> None:
        """Wait for a program to end well."""
        deadline_s = time.monotonic() + timeout_s
        while (status := self._supervisor.status(name)) is None:
            meanwhile()
            if time.monotonic() > deadline_s:
                raise WorkerError(f"{name} takes longer than {timeout_s:g} s:\n{self.last_lines(name)}")
            time.sleep(_LOOK_S)
        self._running.discard(name)
        if status != 0:
            raise WorkerError(f"{name} ended with status {status}:\n{self.last_lines(name)}")

    def stop(self, name: str, number: signal.Signals, timeout_s: float) -> None:
        """Ask a program to drain, and wait. Raises WorkerError where it does not end well."""
        self._running.discard(name)
        self._supervisor.send(name, number)
        status = self._supervisor.wait(name, timeout_s)
        if status == 0:
            return
        how = (
            f"ended with status {status} when asked to drain"
            if status is not None
            else "did not drain in time"
        )
        raise WorkerError(f"the {name} {how}:\n{self.last_lines(name)}")

    def forget(self) -> None:
        """Miss none of them from now on."""
        self._running.clear()

    def log(self, name: str) -> Path:
        """Return the file of a program's output."""
        return self._folder / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """Return the last words of a program."""
        return last_lines(self.log(name), _LOG_LINES)
