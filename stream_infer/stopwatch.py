"""Seconds per stage, lap by lap."""

from __future__ import annotations

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Runs from its making on. ``took_s`` maps each lap's name to its seconds."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = {}
        self._lap_at = time.perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last lap (or the start) was spent on this."""
        now = time.perf_counter()
        self.took_s[name] = now - self._lap_at
        self._lap_at = now

    def skip(self) -> None:
        """The time since the last lap is somebody else's to tell."""
        self._lap_at = time.perf_counter()
