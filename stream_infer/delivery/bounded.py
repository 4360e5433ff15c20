"""Calls of the client that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Caller"]

_Calls = SimpleQueue[Callable[[], object] | None]
_Raised = SimpleQueue[BaseException | None]


class Caller:
    """Makes calls in a thread of its own, one after the other; whoever asks waits only so long for each.

    The thread begins with the first call, and ends with ``close`` or where a call does not come back in time: as soon
    as it does, if it ever does. Until then it keeps all that the call uses, and the next call gets another thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: _Calls | None = None
        self._raised = _Raised()

    def returns_within(self, call: Callable[[], object], within_s: float) -> bool:
        """Whether the call came to its end in time; raises what it raised."""
        if self._calls is None:
            self._calls, self._raised = _Calls(), _Raised()
            waits = (self._calls, self._raised)
            threading.Thread(target=_serve, args=waits, name=self._name, daemon=True).start()
        self._calls.put(call)
        try:
            raised = self._raised.get(timeout=within_s)
        except Empty:
            self.close()
            return False
        if raised is not None:
            raise raised
        return True

    def close(self) -> None:
        """End the thread, after the call that it is in."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _serve(calls: _Calls, raised: _Raised) -> None:
    while _made(calls.get(), raised):
        pass  # while it waits, the thread refers to no call


def _made(call: Callable[[], object] | None, raised: _Raised) -> bool:
    if call is None:
        return False
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        raised.put(error)
    else:
        raised.put(None)
    return True
