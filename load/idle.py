"""Idle: what a program takes that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from load.measurement import Measurement
from load.plan import Plan
from load.processes import Strangers
from load.rivals import start, wait_ready
from load.stand import Stand

__all__ = ["idles"]

_SETTLE_S = 3.0


def idles(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """CPU and memory of each program on an empty topic, after it has settled."""
    for _ in range(plan.repeats):
        for mode, program, settings in plan.turns():
            topic = stand.topic(program)
            run = start(stand, program, topic, **settings)
            wait_ready(stand, run, topic)
            time.sleep(_SETTLE_S)
            strangers, first, began = Strangers(), run.usage(), time.monotonic()
            time.sleep(plan.seconds)
            last, took_s = run.usage(), time.monotonic() - began
            figures = {
                "core_percent": (last.cpu_s - first.cpu_s) / took_s * 100,
                "peak_rss_mib": last.peak_rss_bytes / 2**20,
            }
            share = strangers.share()
            run.stop()
            yield Measurement("idle", mode.replace("_", " "), program, 0, figures, strangers=share)
