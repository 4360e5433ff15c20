"""A program under test in its own process: the worker or a rival."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from load.processes import Usage, usage

__all__ = ["Run"]

_READY_S = 300.0
_PORT = re.compile(r"control port=(\d+)\n")
_NUMBERS = itertools.count()


class Run:
    """One program on one group. ``cores``: the only ones it may use; empty for all."""

    def __init__(
        self,
        folder: Path,
        name: str,
        command: Sequence[Any],
        environment: Mapping[str, str],
        cores: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = folder / f"{name}-{next(_NUMBERS)}.log"
        pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                [*pinned, *command], stdout=sink, stderr=sink, env={**os.environ, **environment}
            )

    def usage(self) -> Usage:
        """What it and the processes that it started took so far. Raises OSError when it has ended."""
        return usage(self._process.pid)

    def cpu_s(self) -> float:
        """User and system seconds of it and of the processes that it started so far."""
        return self.usage().cpu_s

    def metrics(self) -> dict[str, float]:
        """What a worker's /metrics says now: name with labels -> value. Nothing of a rival, which has none."""
        port = self._port()
        if port is None:
            return {}
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def check(self) -> None:
        """Raise when the program has ended, with the end of its log."""
        if self._process.poll():
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.text()[-3000:]}")

    def wait_ready(self) -> None:
        """Wait until the worker says that it is ready."""
        self._wait(self._answers, "is not ready")

    def wait_says(self, text: str) -> None:
        """Wait until this is in its log."""
        self._wait(lambda: text in self.text(), f"does not say {text}")

    def facts(self) -> dict[str, Any]:
        """What a worker's /status says of it; empty while there is none. Raises RuntimeError when it has ended."""
        self.check()
        try:
            told = httpx.get(f"http://127.0.0.1:{self._port() or 0}/status", timeout=2).json()
        except httpx.HTTPError:
            return {}
        return dict(told.get("facts", {}))

    def rss_bytes(self) -> int:
        """Resident size now."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.wait()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def freeze(self) -> None:
        """Stop it where it is, as a machine that hangs."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self, longest_s: float) -> None:
        """Wait until it has ended by itself, and well. Raises RuntimeError otherwise."""
        try:
            code = self._process.wait(longest_s)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.text()[-3000:]}")

    def stop(self, longest_s: float = 30.0) -> None:
        """End it in good order, or after ``longest_s`` in any."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(longest_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def text(self) -> str:
        """Its log."""
        return self.log.read_text("utf-8", "replace")

    def _port(self) -> str | None:
        port = _PORT.search(self.text())
        return port[1] if port else None

    def _wait(self, until: Callable[[], bool], missing: str) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            self.check()
            if until():
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} {missing}:\n{self.text()[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        port = self._port()
        try:
            return (
                port is not None
                and httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == httpx.codes.OK
            )
        except httpx.HTTPError:
            return False
