"""The process of the analysts' app: it ends when it is asked to, also where Kafka does not answer any more."""

from __future__ import annotations

import logging
import os
import signal as signals
import threading
from typing import Final

import faust

__all__ = ["Process"]

logger = logging.getLogger(__name__)

_LEAVE_S: Final = 10.0


class Process(faust.Worker):
    """Runs the app until it is asked to end, or fails. Faust then waits without end; here it waits 10 seconds.

    Nothing is lost by not waiting: what is not acknowledged is read again after the next start.
    """

    def _schedule_shutdown(self, signal: signals.Signals) -> None:
        super()._schedule_shutdown(signal)
        self._bound_the_end()

    def on_worker_shutdown(self) -> None:
        """Bound the end of an app that has failed, too."""
        self._bound_the_end()

    def _bound_the_end(self) -> None:
        last = threading.Timer(_LEAVE_S, self._give_up)
        last.daemon = True
        last.start()

    def _give_up(self) -> None:
        logger.warning(
            "no answer from Kafka within %.0f s: ended without leaving the group. The numbers are in Kafka; "
            "the next start goes on where they are",
            _LEAVE_S,
        )
        logging.shutdown()
        os._exit(1)
