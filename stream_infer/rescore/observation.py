"""What a job tells of itself beside what every worker does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from stream_infer.observation import Observation
from stream_infer.records import Batch, Columns, Rejects, Scores

__all__ = ["RescoreObservation"]

_EVERY_S = 0.5


class RescoreObservation(Observation):
    """An observer that counts corrections, too.

    ``looked`` is called twice a second with the next offset of each partition that runs, and the number of corrections
    committed.
    """

    looked: Callable[[Mapping[int, int], int], None] | None = None
    _looked_at = 0.0
    _open_count = 0
    _corrected_count = 0

    def progressed(self) -> None:
        """The owner thread is alive."""
        super().progressed()
        now = time.monotonic()
        if self.looked is None or now - self._looked_at < _EVERY_S:
            return
        self._looked_at = now
        positions = {p: self._assignment.next_offset(p) for p in self._assignment.running}
        self.looked(positions, self._corrected_count)

    def published(self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]) -> None:
        """Corrections were published; they count when the delivery is committed."""
        super().published(batch, columns, scores, rejects)
        self._open_count += len(columns)

    def committed(self, positions: dict[int, int], took_s: dict[str, float]) -> None:
        """A delivery counts."""
        super().committed(positions, took_s)
        self._corrected_count += self._open_count
        self._open_count = 0

    def rebalanced(self, reason: str) -> None:
        """Partitions came, went, or go back: what is open does not count."""
        super().rebalanced(reason)
        self._open_count = 0
