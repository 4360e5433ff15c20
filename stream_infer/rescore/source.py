"""The input up to where a job ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from stream_infer.delivery.settings import Settings
from stream_infer.delivery.source import Intake, Source
from stream_infer.records import Batch
from stream_infer.rescore.offsets import Offsets
from stream_infer.restore import StartPolicy

__all__ = ["RescoreStart", "UpTo"]


class UpTo(Source):
    """Reads each partition up to its ``stop`` (exclusive); one without a stop is not read at all."""

    def __init__(self, settings: Settings, topic: str, intake: Intake, stop: Mapping[int, int]) -> None:
        super().__init__(settings, topic, intake)
        self._stop = stop

    def poll(self, wait_s: float) -> Batch | None:
        """Take a batch; partitions that are at their end are read no further."""
        batch = super().poll(wait_s)
        if batch is None:
            return None
        wanted = np.zeros(len(batch), np.bool_)
        for partition in np.unique(batch.partition).tolist():
            own, stop = batch.partition == partition, self._stop.get(partition, 0)
            wanted |= own & (batch.offset < stop)
            if batch.offset[own].max() >= stop - 1:
                self.pause([partition])
        if wanted.all():
            return batch
        return batch.take(wanted) if wanted.any() else None

    def resume_at(self, partition: int, offset: int) -> None:
        """Go on with a partition, unless it is at its end."""
        if offset < self._stop.get(partition, 0):
            super().resume_at(partition, offset)


class RescoreStart(StartPolicy):
    """Begins at the first event that is wanted, after a warm-up of ``warm_up_events``."""

    def __init__(self, wanted: Offsets, warm_up_events: int) -> None:
        on_gap: Literal["skip"] = "skip"  # what is no longer there cannot be corrected
        super().__init__("latest", on_gap)
        self.warm_up_events = warm_up_events
        self._first = wanted.first

    def first(self, partition: int, bounds: tuple[int, int]) -> int:
        """Where a new job begins."""
        return min(max(self._first.get(partition, bounds[1]), bounds[0]), bounds[1])
