"""Ctrl-C and its like: an error that unwinds, a wish that can wait, or nothing while things are put away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

__all__ = ["Signals"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Takes SIGINT, SIGTERM and SIGHUP over, in the main thread. A context manager.

    SIGINT raises KeyboardInterrupt; where the program is ``patient`` the first one only sets ``asked``. SIGTERM and
    SIGHUP raise SystemExit (128 + signal).
    """

    def __init__(self) -> None:
        self.asked = False
        self._patient = False
        self._deaf = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in _ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Let the first Ctrl-C in here be a wish, told by ``asked``."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def deafly(self, act: Callable[[], None]) -> None:
        """Do something that no signal may cut short, and that ends by itself."""
        self._deaf = True
        try:
            act()
        finally:
            self._deaf = False

    def _take(self, number: int, _frame: Any) -> None:
        if self._deaf:
            return
        if number != signal.SIGINT:
            raise SystemExit(128 + number)
        if self._patient and not self.asked:
            self.asked = True
            return
        raise KeyboardInterrupt
