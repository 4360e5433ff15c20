"""Start: from the command to a worker that is ready, by what the machine has kept of earlier ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from load.measurement import Measurement
from load.plan import Plan
from load.processes import Strangers
from load.stand import Stand

__all__ = ["starts"]

_CACHE = "stream-infer"
_REHEARSED = "rehearsed"


def starts(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """From the command to ready: on a machine that never ran it, again, and with a model it has not seen."""
    topic = stand.topic("start")
    for number in range(plan.repeats):
        kept = stand.folder / f"kept-{number}"
        yield _start(stand, plan, topic, kept, "first on a machine")
        yield _start(stand, plan, topic, kept, "again")
        shutil.rmtree(kept / _CACHE / _REHEARSED)
        yield _start(stand, plan, topic, kept, "with another model")


def _start(stand: Stand, plan: Plan, topic: str, kept: Path, case: str) -> Measurement:
    strangers, began = Strangers(), time.monotonic()
    caches = {"NUMBA_CACHE_DIR": str(kept / "kernels"), "XDG_CACHE_HOME": str(kept)}
    run = stand.worker(topic, variables=caches, **plan.settings)
    run.wait_ready()
    figures = {"ready_s": time.monotonic() - began, "cpu_s": run.cpu_s()}
    share = strangers.share()
    run.stop()
    return Measurement("start", case, "worker", 0, figures, strangers=share)
