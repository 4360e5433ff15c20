"""A worker stalls at the worst moment, past its poll time-out: another one has its partitions when it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from typing import Any

from tests.chaos import nemesis
from tests.chaos.failpoints import arm, slow_commits
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on

__all__: list[str] = []

_ARM = f"{arm.__module__}:{arm.__name__}"
_STALL_S = 16.0
_REACHED_WITHIN_S = 120.0
_OPTIONS: dict[str, Any] = {
    "workers": 2,
    "partitions": 4,
    "rate": 800.0,
    # The transaction outlives the stall, so that only the group can tell that the worker is late.
    "settings": {
        "delivery": {"transaction_timeout_ms": 60_000},
        "kafka.consumer": {"max.poll.interval.ms": 6_000},
        "quarantine": {"deaths": 100},
    },
}


@scenario("stall-work", faults=("a stall past the poll time-out, results written",), **_OPTIONS)
def stall_work(rig: Rig, random: Random) -> None:
    """Results are written, then the worker stalls: it is no member any more when it goes on."""
    _strike(
        rig, random, "a stall past the poll time-out, results written", f"publish.after=sleep({_STALL_S})"
    )


@scenario(
    "stall-poll",
    faults=("a stall past the poll time-out, before a poll",),
    # Small batches, so that a delivery takes several and is open while the next one is polled.
    **_OPTIONS
    | {
        "settings": _OPTIONS["settings"]
        | {
            "batch": {"max_events": 50},
            "delivery": {"transaction_timeout_ms": 60_000, "commit_interval_ms": 2_000},
        }
    },
)
def stall_poll(rig: Rig, random: Random) -> None:
    """The worker stalls before it polls, with a delivery open; the poll tells it that it has lost everything."""
    _strike(rig, random, "a stall past the poll time-out, before a poll", f"poll.before=sleep({_STALL_S})")


@scenario("stall-offsets", faults=("a stall past the poll time-out, before the offsets",), **_OPTIONS)
def stall_offsets(rig: Rig, random: Random) -> None:
    """The worker stalls between its last poll and its offsets: the group must refuse them."""
    _strike(
        rig, random, "a stall past the poll time-out, before the offsets", f"offsets.before=sleep({_STALL_S})"
    )


@scenario(
    "slow-commits",
    faults=("a worker joins", "a worker leaves"),
    patches=(f"{slow_commits.__module__}:{slow_commits.__name__}",),
    **_OPTIONS,
)
def joins_and_slow_commits(rig: Rig, random: Random) -> None:
    """Workers join and leave while commits are slow: a partition that is given away must be given away whole."""
    strike_on(rig, random, nemesis.join, nemesis.join, nemesis.leave, every_s=(1.0, 3.0))


@scenario("stall-commit", faults=("a stall past the poll time-out, before the commit",), **_OPTIONS)
def stall_commit(rig: Rig, random: Random) -> None:
    """Offsets are sent, then the worker stalls: the next owner must wait for what becomes of them."""
    _strike(
        rig, random, "a stall past the poll time-out, before the commit", f"commit.before=sleep({_STALL_S})"
    )


@scenario(
    "in-doubt",
    faults=("a commit whose answer is lost", "a delivery that fails"),
    workers=2,
    partitions=4,
    rate=800.0,
)
def in_doubt(rig: Rig, random: Random) -> None:
    """Commits succeed and the worker is told that they failed; deliveries fail before anything is committed."""
    while rig.goes_on():
        _start(
            rig,
            random,
            {
                f"flush.before=undone@{random.choice((2, 3, 4))}": "a delivery that fails",
                f"commit.after=undone@{random.choice((5, 8))}": "a commit whose answer is lost",
            },
        )
        rig.wait(random.uniform(0.5, 2.0))


def _strike(rig: Rig, random: Random, kind: str, armed: str) -> None:
    while rig.goes_on():
        _start(rig, random, {f"{armed}@{random.choice((3, 8))}": kind})
        rig.wait(_STALL_S + random.uniform(2.0, 4.0))


def _start(rig: Rig, random: Random, faults: Mapping[str, str]) -> None:
    """Start one worker anew with these failpoints, and wait until each is reached."""
    slot = random.randrange(rig.options.workers)
    rig.workers[slot].kill()
    log = rig.workers[slot].log.with_suffix(".points")
    environment = {"CHAOS_FAILPOINTS": ",".join(faults), "CHAOS_FAILPOINTS_LOG": str(log)}
    rig.start(slot, patches=(_ARM,), environment=environment)
    left = {armed.partition("=")[0]: kind for armed, kind in faults.items()}
    deadline = time.monotonic() + _REACHED_WITHIN_S
    while left and time.monotonic() < deadline:
        rig.wait(0.1)
        for point in log.read_text().split() if log.exists() else ():
            if point in left:
                rig.fault(left.pop(point), slot)
