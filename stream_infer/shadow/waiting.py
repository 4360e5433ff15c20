"""Which partitions have waited long for the same event."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Waiting"]

_LEAST_S = 0.5


class Waiting:
    """Looks every ``long_s`` (half a second at least) at the event that each partition waits for."""

    def __init__(self, long_s: float) -> None:
        self._long_s = max(_LEAST_S, long_s)
        self._since: dict[int, tuple[int, float]] = {}
        self._looked_at = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time to look again."""
        return now - self._looked_at >= self._long_s

    def stuck(self, now: float, waits: Mapping[int, int]) -> list[int]:
        """The partitions that wait for the same event (by its offset) as at the last look, and so long."""
        self._looked_at = now
        before, self._since = self._since, {}
        for partition, key in waits.items():
            since = before.get(partition)
            self._since[partition] = since if since is not None and since[0] == key else (key, now)
        return [p for p, (_, since) in self._since.items() if now - since >= self._long_s]
