"""A worker with what surrounds it, from open to close."""

from __future__ import annotations

import gc
from contextlib import ExitStack

from stream_infer.control import ControlServer
from stream_infer.log import get_logger
from stream_infer.watchdog import Watchdog
from stream_infer.worker import Worker

__all__ = ["Service"]


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
        """Ask for a drain and an end; safe in a signal handler."""
        self.worker.stop()
