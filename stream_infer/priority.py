"""A process that shares its machine with a more important one and gives way."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

__all__ = ["Priority", "give_way"]

Priority = Literal["idle", "low", "normal"]


def give_way(priority: Priority) -> None:
    """Let others have the processor first, and be the first to go when memory ends; threads to come do so, too.

    ``low`` is the highest niceness; a process may still finish its slice of some milliseconds when another wakes up.
    ``idle`` is pushed aside at once, by Linux's policy of that name; where it is missing or not allowed, it is ``low``.
    """
    if priority != "normal":
        os.nice(19)
    if priority == "idle" and sys.platform == "linux":
        with suppress(PermissionError):  # a container's seccomp profile may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
