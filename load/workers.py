"""Workers: how much more two do than one, each on a core of its own beside the broker.

All of a topic's records become visible at once, when every worker has its partitions, so that neither start nor
rebalance is in the figures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from load.check import check
from load.drain import watch
from load.measurement import Measurement
from load.plan import Plan
from load.processes import Strangers
from load.stand import Stand
from load.topics import wait_members

__all__ = ["COUNTS", "workers"]

COUNTS = (1, 2, 3, 4)


def workers(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """The same events by one to four workers, worker i bound to core i."""
    for _ in range(plan.repeats):
        for count in COUNTS:
            yield _together(stand, plan, count)


def _together(stand: Stand, plan: Plan, count: int) -> Measurement:
    topic = stand.topic("workers")
    cores = sorted(os.sched_getaffinity(0))
    runs = [
        stand.worker(topic, cores=[cores[number % len(cores)]], **plan.settings) for number in range(count)
    ]
    for run in runs:
        run.wait_ready()
    wait_members(stand.servers, topic, count)
    show = stand.fill_hidden(topic, plan.events)
    strangers = Strangers()
    show()
    shown = time.time()
    seen = watch(stand, runs, topic, plan.events)
    share = strangers.share()
    for run in runs:
        run.stop()
    written = check(stand, topic).written_ms / 1000
    figures = {
        "events_per_s": plan.events / (float(written.max()) - shown),
        "cpu_us_per_event": seen.cpu_s / (plan.events - seen.began) * 1e6,
        "peak_rss_mib": seen.peak_rss_bytes / 2**20,
        **seen.stages.figures(),
    }
    case = f"{count} worker{'s' if count > 1 else ''}"
    return Measurement("workers", case, "worker", plan.events, figures, seen.stages.us_per_event, share)
