"""A worker with what surrounds it, from open to close."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from stream_infer.control import ControlServer
from stream_infer.errors import DeliveryError
from stream_infer.log import get_logger
from stream_infer.worker import Worker

__all__ = ["Companion", "Service"]

_GRACE_S = 5.0
"""After the drain's own time-out: to leave the group and let go of the clients."""


class Companion(Protocol):
    """A watchdog, or what follows a model's alias."""

    def open(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End."""


class Service:
    """Runs a worker with its control server and its companions: what runs beside it in threads of their own."""

    def __init__(
        self,
        worker: Worker,
        control: ControlServer | None,
        companions: Sequence[Companion],
        drain_timeout_s: float,
    ) -> None:
        self.worker = worker
        self.control = control
        self._companions = companions
        self._drain_timeout_s = drain_timeout_s

    def run(self) -> None:
        """Serve until ``stop``; whatever ends it, the control server and the companions are closed."""
        with ExitStack() as closing:
            if self.control is not None:
                self.control.open()
                get_logger(__name__).info("control", port=self.control.port)
                closing.callback(self.control.close)
            for companion in self._companions:
                companion.open()
                closing.callback(companion.close)
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
