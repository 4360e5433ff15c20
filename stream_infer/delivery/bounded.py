"""Calls of the client that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["returns_within"]


def returns_within(call: Callable[[], object], within_s: float, name: str) -> bool:
    """Whether the call came to its end in time; raises what it raised. Else a thread of this name is left in it.

    That thread keeps all that the call uses, until it ends, if it ever does.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            raised.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(within_s)
    if thread.is_alive():
        return False
    if raised:
        raise raised[0]
    return True
