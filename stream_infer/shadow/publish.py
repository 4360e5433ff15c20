"""The stage that writes: a comparison per event that the primary decided on, to the partition it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Delivery, write_whole
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.pairs import Pairs
from stream_infer.records import Batch, Blobs, Columns, Rejects, Scores
from stream_infer.shadow.draft import Draft, Work
from stream_infer.shadow.outcomes import NOTHING, Outcomes

__all__ = ["ComparisonPublisher", "Counts", "Encoder"]


class Encoder(Protocol):
    """Pairs -> payloads end to end, with their end positions."""

    def encode(self, pairs: Pairs) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Encode all pairs."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Events compared, by what was found, and those that the primary passed over."""

    agreed: int
    disagreed: int
    primary_only: int
    shadow_only: int
    neither: int
    passed_over: int

    @property
    def compared(self) -> int:
        """Comparisons written."""
        return self.agreed + self.disagreed + self.primary_only + self.shadow_only + self.neither

    def outcomes(self) -> dict[str, int]:
        """The comparisons by outcome."""
        return {name: count for name, count in asdict(self).items() if name != "passed_over"}


class ComparisonPublisher:
    """Writes through a delivery and counts in its ledger, as the worker's own publisher does.

    ``outcomes`` gives those of the batch that is in work; ``counted`` is told what became of its events.
    """

    def __init__(
        self,
        delivery: Delivery,
        draft: Draft,
        encoder: Encoder,
        topic: str,
        outcomes: Callable[[], Outcomes],
        counted: Callable[[Counts], None],
    ) -> None:
        self._delivery = delivery
        self._draft = draft
        self._encoder = encoder
        self._topic = topic
        self._outcomes = outcomes
        self._counted = counted

    def publish(
        self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]
    ) -> tuple[Columns, Scores, list[Rejects]]:
        """Write a comparison per row that the primary decided on. Raises Undone when the producer takes no more."""
        outcomes = self._outcomes()
        refused = {row: (fault.error, fault.reason) for part in rejects for row, fault in part}
        rows = np.union1d(columns.rows, np.fromiter(refused, np.int64, len(refused)))
        at = outcomes.find(batch.partition[rows], batch.offset[rows])
        decided = outcomes.kind[at] != NOTHING
        passed_over = int(np.count_nonzero(~decided))
        if passed_over:
            rows, at = rows[decided], at[decided]
        self._delivery.begin()
        pairs = self._draft.pairs(Work(batch, rows, columns, scores, refused, outcomes, at))
        self._write(batch, rows, pairs)
        self._counted(_counts(pairs, passed_over))
        self._delivery.ledger.scored += len(rows)
        self._delivery.ledger.rejected += passed_over
        return columns, scores, list(rejects)

    def _write(self, batch: Batch, rows: NDArray[np.int64], pairs: Pairs) -> None:
        payload, ends = self._encoder.encode(pairs)
        values = Blobs(payload, ends, np.zeros(len(ends), np.bool_))
        outgoing = Outgoing(values, batch.partition[rows], rows, batch.keys)
        write_whole(self._delivery, self._topic, outgoing, "a comparison")


def _counts(pairs: Pairs, passed_over: int) -> Counts:
    primary, shadow = pairs.primary, pairs.shadow
    both = primary.scored & shadow.scored
    agreed = both & (primary.is_anomaly == shadow.is_anomaly)
    count = np.count_nonzero
    return Counts(
        agreed=int(count(agreed)),
        disagreed=int(count(both & ~agreed)),
        primary_only=int(count(primary.scored & ~shadow.scored)),
        shadow_only=int(count(shadow.scored & ~primary.scored)),
        neither=int(count(~primary.scored & ~shadow.scored)),
        passed_over=passed_over,
    )
