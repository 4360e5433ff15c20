"""A process to try records in: what kills it would have killed the worker.

The parent's side of it (trial.py is the other). It guards against crashes, hangs and memory that grows without bound,
not against malice: the child is a process of the same user.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

from stream_infer.log import get_logger
from stream_infer.records import Batch

__all__ = ["Death", "NoSandbox", "Sandbox", "SandboxLimits", "StateOf"]

_LOG = get_logger(__name__)
_START_S = 120.0
_LOOK_EVERY_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

StateOf = Callable[[Sequence[bytes]], Iterable[tuple[bytes, bytes]]]
"""Entities -> their state records, as (key, value)."""


class NoSandbox(Exception):  # noqa: N818 - a state its catcher acts on
    """The process to try records in does not come up; that is no record's fault."""


class Death(NamedTuple):
    """What ended a trial: the first of the rows in work then, the stage they were in, and a sentence for people."""

    row: int
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """A trial ends after ``timeout_s`` without progress, or at ``memory_bytes`` more than the process began with."""

    timeout_s: float
    memory_bytes: int


class Sandbox:
    """Starts the child when it is first needed, and again after each death.

    ``command`` starts it, the number of an open file descriptor is appended; ``settings`` is the first it is sent.
    """

    def __init__(self, command: Sequence[str], settings: Any, limits: SandboxLimits) -> None:
        self.command = list(command)
        self._settings = settings
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._most_bytes = 0

    def killed_by(
        self, batch: Batch, step: int, state_of: StateOf, attend: Callable[[], None]
    ) -> Death | None:
        """Take the rows of a batch (of one partition) through the stages, ``step`` at a time; None: the child survived.

        ``attend`` is called while waiting, some 20 times a second. Raises NoSandbox, and what ``attend`` raises.
        """
        at: dict[str, Any] = {"row": 0, "stage": "decode"}
        try:
            self._open(attend)
            self._send((batch, step))
            while not at.get("done"):
                found = self._receive(self._limits.timeout_s, attend)
                if "entities" in found:
                    entities = [name.encode("latin-1") for name in found["entities"]]
                    self._send(list(state_of(entities)))
                else:
                    at = found
        except _Ended as ended:
            self.close()
            return Death(at["row"], at["stage"], str(ended))
        except BaseException:
            self.close()  # it may be in the midst of an answer that nobody waits for
            raise
        return None

    def renew(self, settings: Any) -> None:
        """From the next trial on with these settings."""
        self.close()
        self._settings = settings

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()

    def _open(self, attend: Callable[[], None]) -> None:
        if self._process is not None:
            return
        ours, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self.command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._connection = ours
        self._most_bytes = 1 << 62
        try:
            self._send(self._settings)
            self._receive(_START_S, attend)
        except _Ended as ended:
            raise NoSandbox(str(ended)) from ended
        self._most_bytes = self._resident_bytes() + self._limits.memory_bytes
        _LOG.info("sandbox", pid=self._process.pid)

    def _send(self, message: Any) -> None:
        assert self._connection is not None
        try:
            self._connection.send_bytes(pickle.dumps(message))
        except OSError:
            raise _Ended(self._end()) from None

    def _receive(self, timeout_s: float, attend: Callable[[], None]) -> dict[str, Any]:
        """The next message; what comes from the child is never unpickled. Raises _Ended."""
        assert self._connection is not None
        deadline = time.monotonic() + timeout_s
        while not self._connection.poll(_LOOK_EVERY_S):
            attend()
            if time.monotonic() > deadline:
                raise _Ended(f"it gave no sign of life for {timeout_s:.0f} s")
            if self._resident_bytes() > self._most_bytes:
                raise _Ended(f"it took more than {self._limits.memory_bytes} bytes of memory")
        try:
            found: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise _Ended(self._end()) from None
        return found

    def _resident_bytes(self) -> int:
        """Memory of the child; 0 where the system does not tell."""
        assert self._process is not None
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def _end(self) -> str:
        """How the child ended, in words."""
        assert self._process is not None
        try:
            code = self._process.wait(_LOOK_EVERY_S * 100)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"it ended with exit code {code}" if code >= 0 else f"it died of {_signal_name(-code)}"


class _Ended(Exception):  # noqa: N818 - it names an outcome
    """The child is gone, or has to go."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
