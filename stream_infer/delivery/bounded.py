"""Calls of the client that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Caller"]

_LOOK_S = 0.05
_Calls = SimpleQueue[Callable[[], object] | None]
_Raised = SimpleQueue[BaseException | None]


def _never() -> bool:
    return False


class Caller:
    """Makes calls in a thread of its own, one after the other; whoever asks waits only so long for each.

    The thread begins with the first call, and ends with ``close`` or where a call does not come back in time: as soon
    as it does, if it ever does. Until then it keeps all that the call uses, and the next call gets another thread.
    ``thread`` is that of the last call.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: _Calls | None = None
        self._raised = _Raised()
        self.thread: threading.Thread | None = None

    def returns_within(
        self, call: Callable[[], object], within_s: float, given_up: Callable[[], bool] = _never
    ) -> bool:
        """Whether the call came to its end in time; raises what it raised.

        ``given_up`` is asked meanwhile, and may end the wait.
        """
        if self._calls is None:
            self._calls, self._raised = _Calls(), _Raised()
            waits = (self._calls, self._raised)
            self.thread = threading.Thread(target=_serve, args=waits, name=self._name, daemon=True)
            self.thread.start()
        self._calls.put(call)
        deadline = time.monotonic() + within_s
        while True:
            try:
                raised = self._raised.get(timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
            except Empty:
                if given_up() or time.monotonic() > deadline:
                    self.close()
                    return False
                continue
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
