"""Changes of a worker's code that make faults possible; each is named in CHAOS_PATCHES."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

from stream_infer.service import Service

__all__ = ["clock", "patient", "static_member"]


def clock(service: Service) -> None:
    """Let the wall clock of this process be off by as many seconds as the file CHAOS_CLOCK says, at any moment."""
    with Path(os.environ["CHAOS_CLOCK"]).open("rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    true_s, true_ns = time.time, time.time_ns

    def off_s() -> float:
        return float(struct.unpack("d", shared[:8])[0])

    time.time = lambda: true_s() + off_s()
    time.time_ns = lambda: true_ns() + int(off_s() * 1e9)


def patient(service: Service) -> None:
    """Let this worker wait for the answer to its offsets as long as its transaction may take."""
    delivery: Any = service.worker._delivery
    delivery._offsets_s = delivery._timeout_s


def static_member(service: Service) -> None:
    """Make this worker a static member of its group, which its settings refuse."""
    worker: Any = service.worker
    slot = os.environ["STREAM_INFER__DELIVERY__SLOT"]
    worker._source._settings = {**worker._source._settings, "group.instance.id": f"member-{slot}"}
