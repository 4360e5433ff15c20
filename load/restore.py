"""Restore: how long a new worker needs until it knows every entity again.

A worker sees each entity once and is stopped in good order, so that all state is in the state topic; another starts.
Its scores of the events that follow are checked like all others: they are right only where the state is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from load.check import check
from load.drain import watch
from load.measurement import Measurement
from load.plan import Plan
from load.processes import Strangers
from load.stand import Run, Stand
from load.topics import PARTITIONS
from load.traffic import Traffic

__all__ = ["COUNTS", "restores"]

COUNTS = (10_000, 100_000, 1_000_000)
_MORE_EVENTS = 20_000
_LONGEST_S = 300.0
_GAUGES_S = 1.5  # by then every gauge has been set anew


def restores(stand: Stand, plan: Plan) -> Iterator[Measurement]:
    """Restore each number of entities; none larger than the plan's events."""
    for _ in range(plan.repeats):
        for count in COUNTS:
            if count <= plan.events:
                yield _restore(stand, plan, count)


def _restore(stand: Stand, plan: Plan, count: int) -> Measurement:
    topic = stand.topic("restore", traffic=Traffic(entities=count, known=False))
    stand.fill(topic, count)
    first = stand.worker(topic, DELIVERY__DRAIN_TIMEOUT_S=str(_LONGEST_S), **plan.settings)
    watch(stand, [first], topic, count)
    first.stop(_LONGEST_S)
    strangers, began = Strangers(), time.monotonic()
    second = stand.worker(topic, **plan.settings)
    second.wait_ready()
    ready_s = time.monotonic() - began
    found = _wait_restored(second)
    used, share = second.usage(), strangers.share()
    if found["stream_infer_state_entities"] != count:
        raise RuntimeError(
            f"{topic}: {found['stream_infer_state_entities']:.0f} of {count} entities restored"
        )
    stand.fill(topic, _MORE_EVENTS, start=count)
    watch(stand, [second], topic, count + _MORE_EVENTS)
    second.stop()
    check(stand, topic)
    figures = {
        "restore_s": found["stream_infer_restore_last_seconds"],
        "ready_s": ready_s,
        "cpu_s": used.cpu_s,
        "replayed": found.get("stream_infer_replayed_total", 0.0),
        "state_bytes_per_entity": found["stream_infer_state_bytes"] / count,
        "peak_rss_mib": used.peak_rss_bytes / 2**20,
    }
    return Measurement("restore", f"{count:,} entities", "worker", count, figures, strangers=share)


def _wait_restored(run: Run) -> dict[str, float]:
    """The metrics once every partition is back."""
    deadline = time.monotonic() + _LONGEST_S
    while True:
        run.check()
        found = run.metrics()
        owned = found.get("stream_infer_assigned_partitions", 0)
        if owned == PARTITIONS and not found.get("stream_infer_paused_partitions", 0):
            time.sleep(_GAUGES_S)
            return run.metrics()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{run.name} is not restored:\n{run.text()[-2000:]}")
        time.sleep(0.02)
