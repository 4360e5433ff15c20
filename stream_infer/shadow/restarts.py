"""A shadow that dies again and again waits before it starts: a start takes seconds of CPU, and a restore.

A token bucket: two starts are at once, beyond those there is one in each ``pause_s``, and a run that ends well gives
its token back. All that is remembered is when the bucket will be full again, in a file. No fault of that file, or of
the clock, prevents a start or makes it wait longer than ``pause_s``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream_infer.log import get_logger

__all__ = ["Restarts"]

_LOG = get_logger(__name__)
_AT_ONCE = 2
_DAY_S = 86_400.0
"""Longer than anything has to be remembered."""


class Restarts:
    """The starts of one shadow on this machine. ``pause_s``: 0 never waits and remembers nothing.

    ``now_s``: the time in epoch seconds; what whoever starts the shadow has waited counts, so it is the wall clock's.
    """

    def __init__(
        self,
        file: Path,
        pause_s: float,
        now_s: Callable[[], float] = time.time,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = file
        self._pause_s = pause_s
        self._most_s = _AT_ONCE * pause_s
        self._now_s = now_s
        self._rest = rest

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Wait until it is this start's turn. It counts unless the body ends, or is interrupted or asked to end."""
        wait_s = self._owed_s() + self._pause_s - self._most_s
        if wait_s > 0:
            _LOG.warning(
                "waits before it starts: it died more than once lately, and a start takes CPU from the worker",
                wait_s=round(wait_s, 1),
                lately_s=self._most_s,
                cure="see how it died; shadow.restart_pause_s = 0 starts at once",
            )
            self._rest(wait_s)
        self._owe(self._pause_s)  # whoever is killed while it waits has cost nothing
        try:
            self._forget_others()
            yield
        except (KeyboardInterrupt, SystemExit):
            self._owe(-self._pause_s)
            raise
        self._owe(-self._pause_s)

    def _owed_s(self) -> float:
        """Seconds until the bucket is full. Of a clock that was set back it is what may be owed at most."""
        try:
            owed_s = float(self._file.read_text("ascii")) - self._now_s()
        except (OSError, ValueError):
            return 0.0
        return min(max(0.0, owed_s), self._most_s)

    def _owe(self, more_s: float) -> None:
        if not self._pause_s:
            return
        owed_s = min(self._owed_s() + more_s, self._most_s)
        with suppress(OSError):  # it is not remembered then
            if owed_s <= 0:
                self._file.unlink(missing_ok=True)
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_text(repr(self._now_s() + owed_s), "ascii")
            fresh.replace(self._file)

    def _forget_others(self) -> None:
        """Remove what shadows left that died, and never came again."""
        if not self._pause_s:
            return
        with suppress(OSError):
            for file in self._file.parent.iterdir():
                if file.stat().st_mtime < time.time() - _DAY_S:
                    file.unlink(missing_ok=True)
