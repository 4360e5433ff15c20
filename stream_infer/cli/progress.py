"""How far a job over the past is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_infer.log import get_logger

__all__ = ["Told", "progress"]

_LOG = get_logger("stream_infer")
_SAY_EVERY_S = 10.0

Told = Callable[[int, int], None]
"""Hears how many events of the range are passed, and how many are done."""


@contextmanager
def progress(what: str, events: int, done: str) -> Iterator[Told]:
    """Show how far ``what`` is in its range, and how many events are ``done``.

    A bar for people, a line every ten seconds for machines.
    """
    if not sys.stderr.isatty():
        yield _lines(what, events, done)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]:,} " + done),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=events, done=0)
        yield lambda passed, count: shown.update(task, completed=passed, done=count)


def _lines(what: str, events: int, done: str) -> Told:
    said_at, count_before = time.monotonic(), 0

    def told(passed: int, count: int) -> None:
        nonlocal said_at, count_before
        now = time.monotonic()
        if now - said_at >= _SAY_EVERY_S:
            rate = (count - count_before) / (now - said_at)
            said_at, count_before = now, count
            _LOG.info(what, passed=passed, of=events, per_s=round(rate), **{done: count})

    return told
