"""When to commit and when to write state: decisions of time and counts alone, so that they can be tested alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["CommitPace", "FlushPace"]


@dataclass(frozen=True, slots=True)
class CommitPace:
    """Cut a transaction when the input pauses, when it is old, or when it is large.

    Under load batches come full and transactions grow to ``interval_s``; at low rates each batch is committed at once,
    but not sooner than ``floor_s`` after the last commit, since a transaction costs CPU on both sides.
    """

    interval_s: float
    floor_s: float
    max_events: int

    def due(self, now: float, opened_at: float, committed_at: float, events: int, *, full: bool) -> bool:
        """Whether the open delivery is to be committed; ``full``: the last batch was cut by its size."""
        if events >= self.max_events or now - opened_at >= self.interval_s:
            return True
        return not full and now - committed_at >= self.floor_s

    def wait_s(self, now: float, opened_at: float, committed_at: float) -> float:
        """How long a poll may wait for a record before the open delivery is due."""
        due_at = min(opened_at + self.interval_s, max(opened_at, committed_at + self.floor_s))
        return max(0.0, due_at - now)


class FlushPace:
    """Below which offset an entity's unsaved changes are due to be written, per partition.

    Due is what is older than ``interval_s``, or further back than a restore can replay in its target time:
    ``replay_rows`` = target x rows per second, as measured by the worker.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._seen: dict[int, deque[tuple[float, int]]] = {}
        self._due: dict[int, int] = {}

    def note(self, now: float, partition: int, position: int) -> None:
        """The partition stood at this position now."""
        seen = self._seen.setdefault(partition, deque())
        if not seen or now - seen[-1][0] >= self._interval_s / 20:  # a finer grain would only cost memory
            seen.append((now, position))

    def due_before(self, now: float, partition: int, position: int, replay_rows: int) -> int:
        """Changes first made below this offset are to be written now."""
        seen = self._seen.get(partition, deque())
        while seen and now - seen[0][0] >= self._interval_s:
            self._due[partition] = seen.popleft()[1]
        return max(self._due.get(partition, 0), position - replay_rows)

    def forget(self, partition: int) -> None:
        """The partition left, or starts again from its committed position."""
        self._seen.pop(partition, None)
        self._due.pop(partition, None)
