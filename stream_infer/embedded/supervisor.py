"""Runs commands and ends them when their owner is gone. A program of its own: ``python -I -S supervisor.py``.

The owner holds the write end of this program's standard input. When that end closes, because the owner is
done or was killed (SIGKILL included), every command is ended and the directory given as argv[3] is removed.
Until then the owner asks in JSON lines, and each is answered with one JSON line on standard output that
repeats the "id" of the request:

    {"start": NAME, "command": [...], "log": PATH, "cwd": PATH or null}   -> {"pid": int} or {"error": text}
    {"signal": NAME, "number": int}                                       -> {"status": int or null}
    {"status": NAME}                                                      -> {"status": int or null}
    {"end": true}     as if the input had closed: a fork of the owner may hold it open   -> {}

``status`` is null while the command runs, then its exit status (128 + signal if killed). Standard library
only and single-threaded: it is up in milliseconds, and ``preexec_fn`` is safe here.

argv: 1 = pid of the owner, 2 = seconds between SIGTERM and SIGKILL, 3 = directory to remove, or nothing.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__: list[str] = []

_PR_SET_PDEATHSIG = 1
_OWNER_CHECK_MS = 1000

Child = subprocess.Popen[bytes]


def main() -> None:
    """Serve the owner until it is gone, then leave nothing running."""
    owner, grace_s, remove = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: ended.append(number))
    children: dict[str, Child] = {}
    poll = select.poll()
    poll.register(0, select.POLLIN)
    rest = b""
    while not ended and os.getppid() == owner:  # a fork of the owner may still hold the pipe open
        if not poll.poll(_OWNER_CHECK_MS):
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "end" in request:
                ended.append(0)
            _say({"id": request["id"], **_answer(request, children)})
    _end(children, grace_s)
    if remove:
        shutil.rmtree(remove, ignore_errors=True)


def _answer(request: dict[str, Any], children: dict[str, Child]) -> dict[str, Any]:
    if "end" in request:
        return {}
    if "start" in request:
        try:
            children[request["start"]] = child = _start(request)
        except OSError as error:
            return {"error": str(error)}
        return {"pid": child.pid}
    child = children[request["signal"] if "signal" in request else request["status"]]
    if "signal" in request:
        child.send_signal(request["number"])  # does nothing to one that has ended
    code = child.poll()
    return {"status": code if code is None or code >= 0 else 128 - code}


def _start(request: dict[str, Any]) -> Child:
    with Path(request["log"]).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the owner's own command
            request["command"],
            cwd=request["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _end(children: dict[str, Child], grace_s: float) -> None:
    for child in children.values():
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGCONT)  # a paused process must wake to obey
    deadline = time.monotonic() + grace_s
    for child in children.values():
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _say(answer: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        return  # the owner is gone; the loop is about to see it


def _die_with_parent() -> None:
    """Ask Linux to kill the child should this program itself be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
