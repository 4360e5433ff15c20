"""Where a shadow begins and ends, and what it asks about the primary on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import KafkaException

from stream_infer.delivery.delivery import error_of
from stream_infer.log import get_logger
from stream_infer.restore import StartPolicy
from stream_infer.shadow.pairing import Beside
from stream_infer.shadow.standing import Seeker, Standing, Start

__all__ = ["PrimaryGuide", "Range", "ShadowStart"]

_LOG = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of the input by partition: the first to pair, and the stop (exclusive)."""

    first: Mapping[int, int] = field(default_factory=dict)
    stop: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, standing: Standing, start: Start, end: Start) -> Range:
        """What lies between two places and the primary has passed by now."""
        partitions = range(standing.partition_count())
        passed = {p: offset or 0 for p, offset in standing.committed(partitions).items()}
        stop = {p: min(standing.offset_of(end, p), passed[p]) for p in partitions}
        return cls({p: min(standing.offset_of(start, p), stop[p]) for p in partitions}, stop)

    @property
    def events(self) -> int:
        """How many offsets it spans."""
        return sum(self.stop[p] - first for p, first in self.first.items())

    def passed(self, positions: Mapping[int, int]) -> int:
        """How many of them lie behind these positions."""
        return sum(
            min(max(offset, self.first[p]), self.stop[p]) - self.first[p]
            for p, offset in positions.items()
            if p in self.first
        )


class ShadowStart(StartPolicy):
    """Begins at ``start``, or at the first offsets of a range, after a warm-up of ``warm_up_events``."""

    def __init__(
        self,
        standing: Standing,
        start: Start,
        span: Range | None,
        on_gap: Literal["stop", "skip"],
        warm_up_events: int,
    ) -> None:
        super().__init__("latest", on_gap)
        self.warm_up_events = warm_up_events
        self._standing = standing
        self._start = start
        self._span = span

    def first(self, partition: int, bounds: tuple[int, int]) -> int:
        """Where a new group begins."""
        wanted = (
            self._standing.offset_of(self._start, partition)
            if self._span is None
            else self._span.first.get(partition, bounds[1])
        )
        return min(max(wanted, bounds[0]), bounds[1])


class PrimaryGuide:
    """The primary's topics and group, for a source; ``span`` is that of a backtest."""

    def __init__(self, standing: Standing, seeker: Seeker, span: Range | None) -> None:
        self._standing = standing
        self._seeker = seeker
        self._span = span

    def beside(self, partition: int, paired_from: int) -> Beside:
        """Positions from which on all results of events from ``paired_from`` on lie."""
        return self._seeker.beside(partition, paired_from)

    def decided(self, partitions: Iterable[int]) -> dict[int, tuple[int, Beside]]:
        """The offset below which the primary is done, and ends behind all that it wrote of those events.

        Nothing where the brokers do not answer now: it is asked again.
        """
        try:
            return self._standing.decided(partitions)
        except KafkaException as failure:
            _LOG.warning("how far the primary is cannot be asked", reason=error_of(failure).str())
            return {}

    def stop_at(self, partition: int) -> int | None:
        """Where a partition ends, exclusive; None: never. A partition that came later has nothing in a range."""
        return None if self._span is None else self._span.stop.get(partition, 0)
