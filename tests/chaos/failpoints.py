"""Failpoints: places in the life of a worker where it can be made to die, sleep or raise.

    CHAOS_FAILPOINTS="commit.before=kill@3,decode.after=sleep(0.5)"

A point is a stage and ``before`` or ``after`` it. An action is ``kill`` (as kill -9 does), ``exit`` (at once, code
70), ``raise`` (an error that nobody expects), ``undone`` (what a delivery that failed raises), ``sleep(SECONDS)`` or
``note``; ``@N`` does it at the Nth time the point is reached instead of the first, ``@N+`` each time from there on.
The point's name goes to the file CHAOS_FAILPOINTS_LOG before its action, so that whoever set it knows that it was
reached. The patch ``arm`` wraps the methods of the built worker; the product knows nothing of it.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from stream_infer.delivery.delivery import Undone
from stream_infer.service import Service

__all__ = ["POINTS", "STAGES", "Failpoint", "FailpointError", "arm", "parse", "slow_commits"]

STAGES = (
    "poll",
    "serve",
    "decode",
    "score",
    "publish",
    "begin",
    "snapshot",
    "flush",
    "offsets",
    "commit",
    "abort",
    "init",
    "assigned",
    "revoked",
    "lost",
    "restore_begin",
    "restore_load",
    "restore_place",
    "undo",
)
"""serve is the poll right before a commit, offsets and commit are requests of it, init the start of a producer."""

POINTS = tuple(f"{stage}.{side}" for stage in STAGES for side in ("before", "after"))

_ENTRY = re.compile(
    r"([a-z_]+\.(?:before|after))=(kill|exit|raise|undone|note|sleep\((\d+(?:\.\d+)?)\))(?:@(\d+)(\+)?)?"
)
_EXIT_CODE = 70


class FailpointError(Exception):
    """What the action ``raise`` raises."""


@dataclass
class Failpoint:
    """One armed point: ``act`` is called each time it is reached."""

    point: str
    action: str
    at: int
    again: bool = False
    sleep_s: float = 0.0
    reached_count: int = 0
    log: Path | None = None

    def act(self) -> None:
        """Count, and do the action when it is time."""
        self.reached_count += 1
        if self.reached_count < self.at or (self.reached_count > self.at and not self.again):
            return
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(f"{self.point}\n")
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "exit":
            os._exit(_EXIT_CODE)
        elif self.action == "raise":
            raise FailpointError(self.point)
        elif self.action == "undone":
            raise Undone("failpoint", self.point)
        elif self.action != "note":
            time.sleep(self.sleep_s)


def parse(text: str, log: Path | None = None) -> list[Failpoint]:
    """Read the variable. Raises ValueError for what it does not understand."""
    found = []
    for entry in filter(None, text.split(",")):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not POINT=ACTION[@N]")
        point, action, seconds, at, again = match.groups()
        if point not in POINTS:
            raise ValueError(f"no failpoint is named {point}; there are {', '.join(POINTS)}")
        found.append(
            Failpoint(point, action, max(1, int(at or 1)), bool(again), float(seconds or 0), log=log)
        )
    return found


def arm(service: Service) -> None:
    """Arm what the environment says, in a service that does not run yet."""
    log = os.environ.get("CHAOS_FAILPOINTS_LOG")
    armed = parse(os.environ.get("CHAOS_FAILPOINTS", ""), Path(log) if log else None)
    _Armed(armed).install(service)


def slow_commits(service: Service) -> None:
    """Let much time pass between the last poll of a commit and its offsets, in each commit."""
    _Armed(parse("offsets.before=sleep(1.2)@1+")).install(service)


@dataclass
class _Armed:
    """Wraps methods so that the points around them are reached."""

    points: Sequence[Failpoint]

    def install(self, service: Service) -> None:
        worker: Any = service.worker
        stages, delivery, partitions = worker._stages, worker._delivery, worker._partitions
        restore = partitions._restore
        self.around(worker._source, "poll", "poll")
        self.around(worker._source, "serve", "serve")
        self.around(stages.decoder, "decode", "decode")
        self.around(stages.scorer, "score", "score")
        self.around(stages.publisher, "publish", "publish")
        self.around(stages.checkpoint, "write", "snapshot")
        self.around(delivery, "begin", lambda: "begin" if delivery.opened_at is None else None)
        self.around(delivery, "open", "init")
        self.around(delivery, "_until_done", _request)
        self.around(delivery._outbox, "flush", "flush")
        self.around(worker, "assigned", "assigned")
        self.around(worker, "revoked", lambda _, *, lost: "lost" if lost else "revoked")
        self.around(restore, "_begin", "restore_begin")
        self.around(restore._reader, "step", "restore_load")
        self.around(restore, "_place", "restore_place")
        self.around(partitions, "_put_back", "undo")

    def around(self, owner: Any, method: str, stage: str | Callable[..., str | None]) -> None:
        """Wrap a method of one object; ``stage`` may depend on its arguments, None for none of ours."""
        wrapped = getattr(owner, method)

        def call(*args: Any, **named: Any) -> Any:
            name = stage if isinstance(stage, str) else stage(*args, **named)
            self.reach(f"{name}.before")
            result = wrapped(*args, **named)
            self.reach(f"{name}.after")
            return result

        setattr(owner, method, call)

    def reach(self, point: str) -> None:
        for armed in self.points:
            if armed.point == point:
                armed.act()


def _request(step: FunctionType, _within_s: float) -> str:
    """The stage of a step of the transaction, by the call of the client in it."""
    stages = {
        "commit_transaction": "commit",
        "abort_transaction": "abort",
        "send_offsets_to_transaction": "offsets",
    }
    (called,) = stages.keys() & set(step.__code__.co_names)
    return stages[called]
