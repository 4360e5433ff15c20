"""Temporary folders of processes that may be killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["Scratch"]

_LOCK = ".in-use"


class Scratch(tempfile.TemporaryDirectory[str]):
    """A temporary folder for something of this kind. What is left of processes that were killed is removed with it.

    Else a worker that dies again and again would leave a model behind each time, until the disk is full. A folder is
    in use while somebody holds the lock on a file in it, which ends with the process.
    """

    def __init__(self, kind: str) -> None:
        prefix = f"stream-infer-{kind}-"
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with suppress(OSError):  # another user's, or another process was faster
                _remove_unless_used(folder)
        super().__init__(prefix=prefix, ignore_cleanup_errors=True)
        fresh = Path(self.name, f"{_LOCK}.new")
        self._lock = os.open(fresh, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        fresh.rename(Path(self.name, _LOCK))  # nobody sees it before it is locked

    def cleanup(self) -> None:
        """Remove the folder, and let go of it. May be called again."""
        super().cleanup()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove_unless_used(folder: Path) -> None:
    """Raises OSError when it is in use, being made, or somebody else's."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
