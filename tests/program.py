"""``stream-infer`` in processes of its own.

Most are forked from a server that has imported the product and done nothing else: a start costs a second of CPU less
than with a fresh interpreter, so that more of a test run is tests and less is imports. Tests of the program as its
users start it, by its name and cold, take PROGRAM.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "WARM_SETTINGS", "Forked", "Running", "fork", "run"]

PROGRAM = Path(sys.executable).parent / "stream-infer"

WARM_SETTINGS = """
[app]
id = "warm"
[kafka]
bootstrap_servers = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[input]
topic = "events"
entity = "entity_id"
features = "features"
[model]
path = "{model}"
"""
"""Of ``stream-infer warm``: no broker and no registry are there."""

Main = Callable[[Sequence[str]], object]
"""Takes the words of a command line; a function of a module, which the child imports."""

_PR_SET_PDEATHSIG = 1
_END_S = 500.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "tests.program",
        "stream_infer.cli.run",
        "stream_infer.checks",
        "stream_infer.build.worker",
        "stream_infer.build.shadow",
        "stream_infer.build.compare",
        "stream_infer.build.rescore",
        "uvicorn",
        "asyncio",
        "confluent_kafka.admin",
    ]
)


class Forked:
    """A forked process with the face of ``subprocess.Popen``."""

    def __init__(self, process: Any) -> None:
        process.start()
        self._process = process
        self.pid: int = process.pid

    def poll(self) -> int | None:
        """Exit code, the negative number of a signal, or None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(
    arguments: Sequence[object],
    out: Path,
    err: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    main: Main | None = None,
) -> Forked:
    """Start the command line with these arguments; what it says is appended to the files.

    ``environment`` is added to that of this process. ``main`` runs in place of the product's own.
    """
    words = [str(word) for word in arguments]
    variables = {**os.environ, **(environment or {})}
    where = str(folder or Path.cwd())
    return Forked(
        _FORKS.Process(
            target=_work,
            args=(main or _main, words, str(out), str(err), variables, where),
            daemon=True,
        )
    )


class Running:
    """A command that was started, and what it says. ``fork`` says what it is given."""

    def __init__(self, arguments: Sequence[object], **started: Any) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory(prefix="said-")
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        self._process = fork(arguments, self._out, self._err, **started)

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll()

    def kill(self) -> subprocess.CompletedProcess[str]:
        """SIGKILL, and what was said until then."""
        self._process.kill()
        return self.end()

    def end(self, timeout_s: float = _END_S) -> subprocess.CompletedProcess[str]:
        """Wait for its end; past the time it is killed, and TimeoutExpired raised."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        said = [
            path.read_text("utf-8", "replace") if path.exists() else "" for path in (self._out, self._err)
        ]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._arguments, code, *said)


def run(
    arguments: Sequence[object], *, check: bool = True, **started: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; it must end with 0 unless ``check`` is false."""
    done = Running(arguments, **started).end()
    said = f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
    assert not check or done.returncode == 0, said
    return done


def _main(arguments: Sequence[str]) -> None:
    from stream_infer.cli import main  # noqa: PLC0415 - only the child runs the product

    main(list(arguments), prog_name="stream-infer")


def _work(
    main: Main, arguments: list[str], out: str, err: str, variables: dict[str, str], folder: str
) -> None:
    """In the child: become the program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    for descriptor, path in ((1, out), (2, err)):
        sink = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(sink, descriptor)
        os.close(sink)
    main(arguments)
