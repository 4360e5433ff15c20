"""What a child process does first."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["confine"]

_PR_SET_PDEATHSIG = 1


def confine() -> None:
    """Say where a crash was, leave no core file, be the first to go when memory ends, and never outlive the parent."""
    faulthandler.enable()
    parent = os.getppid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to answer; it ends this process
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
