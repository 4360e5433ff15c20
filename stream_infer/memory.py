"""How this process keeps memory that it no longer needs."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["share_arenas"]

_M_ARENA_MAX = -8
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from the same few arenas, from now on; without effect where malloc is not glibc's.

    Each arena keeps what was freed in it. glibc makes up to eight of them for each core, and each Kafka client brings
    threads of its own: with every client that is replaced after a fault, they would fill one arena more.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)
