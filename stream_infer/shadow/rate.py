"""At most so many events a second."""

from __future__ import annotations

__all__ = ["Rate"]

_BURST_S = 0.1


class Rate:
    """A bucket that fills at ``events_per_s``, up to a tenth of a second's worth; None: no limit."""

    def __init__(self, events_per_s: float | None) -> None:
        self._events_per_s = events_per_s
        self._level = 0.0
        self._filled_at: float | None = None

    def allowed(self, now: float, limit: int) -> int:
        """How many events may go on now, ``limit`` at most."""
        if self._events_per_s is None:
            return limit
        passed_s = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        most = max(1.0, self._events_per_s * _BURST_S)
        self._level = min(most, self._level + passed_s * self._events_per_s)
        return min(limit, int(self._level))

    def used(self, events: int) -> None:
        """So many events went on."""
        self._level -= events

    def wait_s(self) -> float:
        """How long until one more may go on, as of the last ``allowed``."""
        if self._events_per_s is None:
            return float("inf")
        return max(0.001, (1.0 - self._level) / self._events_per_s) if self._level < 1 else float("inf")
