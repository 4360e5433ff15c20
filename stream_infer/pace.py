"""When to commit and when to write state: decisions of time and counts alone, so that they can be tested alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["CommitPace", "FlushPace"]


@dataclass(frozen=True, slots=True)
class CommitPace:
    """When the open delivery is due: at once at low rates, grouped under load, so that nobody has to tune it.

    A delivery with fewer than ``grouped_events`` is due as soon as the input pauses. After it the worker rests until
    ``rest_s`` have passed: the brokers are still writing the markers of its transaction, and one that begins before
    they are done is told to wait 20 ms (CONCURRENT_TRANSACTIONS); what arrives meanwhile goes together. A delivery with
    more shows load: it is due after ``interval_s``, for a commit blocks the loop for milliseconds, and no rest follows.
    ``max_events`` bounds every delivery.
    """

    interval_s: float
    rest_s: float
    grouped_events: int
    max_events: int

    def due(self, now: float, opened_at: float, events: int, *, full: bool) -> bool:
        """Whether to commit now; ``full``: the last batch was cut by its size, so more is waiting."""
        if events >= self.max_events or now >= opened_at + self.interval_s:
            return True
        return not full and events < self.grouped_events

    def wait_s(self, now: float, opened_at: float) -> float:
        """How long a poll may wait for a record before the open delivery is due."""
        return max(0.0, opened_at + self.interval_s - now)

    def rest_left_s(self, now: float, committed_at: float, events: int) -> float:
        """How long to rest before the next delivery, after one of so many events."""
        return max(0.0, committed_at + self.rest_s - now) if events < self.grouped_events else 0.0


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
