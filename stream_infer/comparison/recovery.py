"""The end of a recovery of Faust's tables, as what waits for it should see it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

import faust

__all__ = ["see_recoveries_end"]


class _RecoveryEnd(asyncio.Event):
    """Faust clears the event again at once: who waits for it after that, when all was read already, waits for ever."""

    def __init__(self, recovery: Any) -> None:
        super().__init__()
        self._recovery = recovery

    async def wait(self) -> Literal[True]:
        """Return when no recovery is under way, or when it ends."""
        if self._recovery.in_recovery:
            await super().wait()
        return True


def see_recoveries_end(app: faust.App) -> None:
    """Make an app that has tables come to the end of each recovery, also of one that is over very soon."""
    recovery: Any = cast("Any", app.tables).recovery
    recovery._signal_recovery_end = _RecoveryEnd(recovery)  # noqa: SLF001 (Faust has no other way)
