"""Start a command, kill it some seconds after it began or see it end, and again as an orchestrator would, to SIGTERM.

python -m load.again SECONDS ORCHESTRATOR COMMAND…

A shadow that says that it waits before it starts has not begun. This is a process of its own, so that what is measured
beside it does not pay for it. The command must not run so long that its orchestrator would forget how often it died:
ten seconds with Docker, ten minutes with the kubelet.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

__all__ = ["PAUSES", "again"]

_WAITS = re.compile(rb" wait_s=([\d.]+)")


def again(
    seconds: float,
    pauses: Iterator[float],
    command: Sequence[str],
    rest: Callable[[float], None] = time.sleep,
) -> None:
    """Returns after as many starts as there are pauses."""
    for pause_s in pauses:
        with subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0) as process:
            assert process.stderr is not None
            try:
                _follow(process.stderr.fileno(), seconds)
            finally:
                process.kill()
        rest(pause_s)


def _follow(said: int, seconds: float) -> None:
    """Pass on what a process says, until it ends or has run for so long, its own wait not counted."""
    deadline = time.monotonic() + seconds
    while select.select([said], [], [], max(0.0, deadline - time.monotonic()))[0]:
        text = os.read(said, 65_536)
        if not text:
            return
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
        deadline += sum(map(float, _WAITS.findall(text)))


def _doubled(first_s: float, most_s: float) -> Iterator[float]:
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, most_s)


PAUSES: dict[str, Callable[[], Iterator[float]]] = {
    "kubernetes": lambda: chain([0.0], _doubled(10.0, 300.0)),
    "docker": lambda: _doubled(0.1, 60.0),
    "none": lambda: repeat(0.0),
}
"""Seconds before each restart.

Kubernetes: at once the first time, then CrashLoopBackOff, 10 s doubled up to 5 minutes
(https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy). Docker, and so compose: 100 ms
doubled up to a minute (https://docs.docker.com/reference/cli/docker/container/run/#restart).
"""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    again(float(sys.argv[1]), PAUSES[sys.argv[2]](), sys.argv[3:])
