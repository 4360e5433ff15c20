"""Child processes that never outlive their owner: started, signalled and stopped through a supervisor."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream_infer.errors import WorkerError

__all__ = ["Supervisor", "last_lines", "port_taken"]

_PROGRAM = Path(__file__).with_name("supervisor.py")
_MARGIN_S = 10.0  # what a supervisor may take beyond the grace period: killing, removing a directory
_LOOK_S = 0.02


class Supervisor:
    """The owner's end of one supervisor program and its named commands. Thread-safe.

    ``remove`` is a directory deleted once every command has ended; ``grace_s`` is what the commands get
    between SIGTERM and SIGKILL when the owner closes this, or dies. Errors are WorkerErrors.
    """

    def __init__(self, *, grace_s: float = 10.0, remove: Path | None = None) -> None:
        self._grace_s = grace_s
        self._remove = remove
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}
        self._asked = 0

    def open(self) -> None:
        """Start the supervisor program."""
        owner, grace, remove = str(os.getpid()), str(self._grace_s), str(self._remove or "")
        self._program = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(_PROGRAM), owner, grace, remove],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal reaches the owner, who stops things in order
        )

    @property
    def pids(self) -> dict[str, int]:
        """Name -> pid of the commands that run."""
        return {name: pid for name, pid in self._pids.items() if self.status(name) is None}

    def start(self, name: str, command: Sequence[str | Path], log: Path, cwd: Path | None = None) -> int:
        """Start a command under ``name``; what it prints goes to the file ``log``. Returns its pid."""
        words = [str(word) for word in command]
        request = {"start": name, "command": words, "log": str(log), "cwd": str(cwd) if cwd else None}
        answer = self._ask(request)
        if "error" in answer:
            message = f"{words[0]} cannot be started: {answer['error']}"
            raise WorkerError(message)
        self._pids[name] = int(answer["pid"])
        return self._pids[name]

    def status(self, name: str) -> int | None:
        """None while the command runs (also paused), else its exit status (128 + signal if killed)."""
        status: int | None = self._ask({"status": name})["status"]
        return status

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the command; nothing happens when it has already ended."""
        self._ask({"signal": name, "number": int(number)})

    def wait(self, name: str, timeout_s: float) -> int | None:
        """Wait for the command to end: its exit status, or None when it still runs after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while (status := self.status(name)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return status

    def close(self) -> None:
        """End every command and the supervisor; returns when they are gone and ``remove`` is deleted."""
        if self._program is None:
            return
        with suppress(WorkerError):  # it was killed
            self._ask({"end": True})
        program, self._program = self._program, None
        assert program.stdin is not None
        assert program.stdout is not None
        with suppress(OSError):  # it was killed with a request unread
            program.stdin.close()
        try:
            program.wait(self._grace_s + _MARGIN_S)
        except subprocess.TimeoutExpired:
            program.kill()  # on Linux the kernel then kills the commands
            program.wait()
        program.stdout.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        program = self._program
        if program is None:
            raise WorkerError("nothing runs here: it was not started, or has been stopped")
        assert program.stdin is not None
        assert program.stdout is not None
        with self._lock:
            self._asked += 1
            try:
                program.stdin.write(json.dumps({**request, "id": self._asked}).encode() + b"\n")
                program.stdin.flush()
                while line := program.stdout.readline():
                    answer: dict[str, Any] = json.loads(line)
                    if answer["id"] == self._asked:  # another one belongs to a call that Ctrl-C cut short
                        return answer
            except OSError:
                pass
        raise WorkerError("the supervisor of an embedded process was killed, and with it the process")


def last_lines(path: Path, count: int) -> str:
    """The last ``count`` lines of the text file, or an empty text where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 400 * count))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
    except OSError:
        return ""


def port_taken(log: Path) -> bool:
    """Whether the log of a Java server ends with its port being in use."""
    text = last_lines(log, 200)
    return "Address already in use" in text or "already bound" in text
