"""Start a command, kill it after some seconds or see it end, and again, until SIGTERM.

python -m load.again SECONDS COMMAND…

A process of its own, so that what is measured beside it does not pay for it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["again"]


def again(seconds: float, command: Sequence[str]) -> None:
    """Never returns: SIGTERM ends it, and the command with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        with subprocess.Popen(command) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
            finally:
                process.kill()


if __name__ == "__main__":
    again(float(sys.argv[1]), sys.argv[2:])
