"""Ends a process whose owner thread is stuck inside a call that never returns.

librdkafka calls without a time-out can hang for ever (a transaction coordinator that was decommissioned, a commit
without a producer id), and a stuck worker pins its partitions and its readers' last stable offset. Nothing
is lost by ending it: what was not committed is read again.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stream_infer.errors import StalledError
from stream_infer.log import get_logger

__all__ = ["StallCount", "Watchdog"]

_LOG = get_logger(__name__)
_LAST_WORDS_S = 1.0


class Watchdog:
    """Looks at the age of the last progress from a thread of its own; over ``limit_s`` the process ends (exit 8).

    Time before ``open`` does not count, nor time in which the whole process was frozen (SIGSTOP, a machine that swaps):
    the owner had none of it either. ``ending`` is called before the end, and may take a second at most.
    """

    def __init__(
        self, progress_age_s: Callable[[], float], limit_s: float, ending: Callable[[], None] = lambda: None
    ) -> None:
        self._progress_age_s = progress_age_s
        self._limit_s = limit_s
        self._ending = ending
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        interval_s = min(1.0, self._limit_s / 4)
        since = looked = time.monotonic()
        while not self._closed.wait(interval_s):
            now = time.monotonic()
            if now - looked > 2 * interval_s:
                since = now
            looked = now
            age_s = min(self._progress_age_s(), now - since)
            if age_s > self._limit_s:
                _LOG.error("no progress, ending the process", age_s=round(age_s, 1))
                faulthandler.dump_traceback(sys.stderr)
                last = threading.Thread(target=self._ending, name="last-words", daemon=True)
                last.start()
                last.join(_LAST_WORDS_S)  # a disk that hangs must not keep us
                os._exit(StalledError.exit_code)


class StallCount:
    """How often the watchdog has ended a worker, in a file: a metric ends with its process, most often unscraped.

    Without a file, or with one that cannot be read or written, the count is of this process alone.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.count = 0
        if file is not None:
            with suppress(OSError, ValueError):
                self.count = max(0, int(file.read_text("ascii")))

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        if self._file is None:
            return
        try:
            fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
            fresh.write_text(str(self.count), "ascii")
            fresh.replace(self._file)
        except OSError as failure:
            _LOG.warning("the stall is not counted", file=str(self._file), reason=str(failure))
