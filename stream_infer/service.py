"""A worker with what surrounds it, from open to close."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import ExitStack

from stream_infer.control import ControlServer
from stream_infer.errors import DeliveryError
from stream_infer.log import get_logger
from stream_infer.watchdog import Watchdog
from stream_infer.worker import Worker

__all__ = ["Service"]

_GRACE_S = 5.0
"""After the drain's own time-out: to leave the group and let go of the clients."""


class Service:
    """Runs a worker with its control server and its watchdog."""

    def __init__(
        self, worker: Worker, control: ControlServer | None, watchdog: Watchdog, drain_timeout_s: float
    ) -> None:
        self.worker = worker
        self.control = control
        self._watchdog = watchdog
        self._drain_timeout_s = drain_timeout_s

    def run(self) -> None:
        """Serve until ``stop``; whatever ends it, the control server and the watchdog are closed."""
        with ExitStack() as closing:
            if self.control is not None:
                self.control.open()
                get_logger(__name__).info("control", port=self.control.port)
                closing.callback(self.control.close)
            self._watchdog.open()
            closing.callback(self._watchdog.close)
            # What is loaded by now lives as long as the process: without it a full collection takes no 100 ms.
            gc.collect()
            gc.freeze()
            self.worker.run(self._drain_timeout_s)

    def stop(self) -> None:
        """Ask for a drain and an end; safe in a signal handler. The end comes in time, drained or not."""
        self.worker.stop()
        last = threading.Timer(self._drain_timeout_s + _GRACE_S, _give_up)
        last.daemon = True
        last.start()


def _give_up() -> None:
    """End a drain that waits for brokers that do not answer: what is not committed is read again."""
    get_logger(__name__).error("the drain did not end in time; the last events are left to the next owner")
    os._exit(DeliveryError.exit_code)
