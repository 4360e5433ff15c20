"""A process that shares its machine with a more important one and gives way."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["give_way"]


def give_way(nice: int) -> None:
    """Let others have the processor first, and be the first to go when memory ends; threads to come do so, too."""
    os.nice(nice)
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
