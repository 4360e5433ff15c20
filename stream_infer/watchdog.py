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

from stream_infer.errors import StalledError
from stream_infer.log import get_logger

__all__ = ["Watchdog"]

_LOG = get_logger(__name__)


class Watchdog:
    """Looks at the age of the last progress from a thread of its own; over ``limit_s`` the process ends (exit 8).

    Time before ``open`` does not count, nor time in which the whole process was frozen (SIGSTOP, a machine that swaps):
    the owner had none of it either.
    """

    def __init__(self, progress_age_s: Callable[[], float], limit_s: float) -> None:
        self._progress_age_s = progress_age_s
        self._limit_s = limit_s
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
                os._exit(StalledError.exit_code)
