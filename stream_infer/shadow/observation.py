"""What a shadow tells of itself beside what every worker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from stream_infer.assignment import Assignment
from stream_infer.control import Metrics, Status
from stream_infer.observation import Observation, Table
from stream_infer.shadow.primary import PrimaryReader
from stream_infer.shadow.publish import Counts
from stream_infer.shadow.source import ShadowSource

__all__ = ["ShadowObservation"]

_EVERY_S = 0.5


class ShadowObservation(Observation):
    """An observer that counts pairs, too.

    ``looked`` is called twice a second with the next offset of each partition that runs, the number of comparisons
    committed, and whether all that a range holds was given out.
    """

    def __init__(
        self,
        metrics: Metrics,
        status: Status,
        source: ShadowSource,
        assignment: Assignment,
        table: Table,
        reader: PrimaryReader,
    ) -> None:
        super().__init__(metrics, status, source, assignment, table)
        self.looked: Callable[[Mapping[int, int], int, bool], None] | None = None
        self._pairs = source
        self._reader = reader
        self._looked_at = 0.0
        self._unusable_count = 0
        self._open_count = 0
        self._compared_count = 0

    def progressed(self) -> None:
        """The owner thread is alive."""
        super().progressed()
        now = time.monotonic()
        if now - self._looked_at < _EVERY_S:
            return
        self._looked_at = now
        unusable, self._unusable_count = self._unusable_count, self._reader.unusable_count
        self._metrics.held(
            self._pairs.held_bytes, self._pairs.take_repeated(), self._unusable_count - unusable
        )
        if self.looked is not None:
            positions = {p: self._assignment.next_offset(p) for p in self._assignment.running}
            self.looked(positions, self._compared_count, self._pairs.exhausted)

    def counted(self, counts: Counts) -> None:
        """Events were compared; they count when the delivery is committed."""
        self._metrics.compared(counts.outcomes(), counts.passed_over)
        self._open_count += counts.compared

    def committed(self, positions: dict[int, int], took_s: dict[str, float]) -> None:
        """A delivery counts."""
        super().committed(positions, took_s)
        self._compared_count += self._open_count
        self._open_count = 0
        self._status.fact(compared=self._compared_count)

    def rebalanced(self, reason: str) -> None:
        """Partitions came, went, or go back: what is open does not count."""
        super().rebalanced(reason)
        self._open_count = 0
