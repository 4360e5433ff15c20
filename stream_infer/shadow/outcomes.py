"""What the primary said of the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Batch, Blobs
from stream_infer.rejects import Reject
from stream_infer.shadow import batches
from stream_infer.shadow.pairing import Ready

__all__ = ["NOTHING", "REJECTED", "SCORED", "Outcomes", "paired"]

NOTHING, SCORED, REJECTED = 0, 1, 2
"""Kinds of outcomes. Nothing: the primary passed the event over, or the row only rebuilds state."""

_NUMBERS = 4


@dataclass(slots=True)
class Outcomes:
    """The primary's side of n rows, in the order of their batch.

    ``kind`` uint8 (n); ``gone`` bool (n): the input no longer had the record, and the row is a null one in its stead;
    ``numbers`` float64 (n, 4): score, threshold, is_anomaly, window_full; ``published_ms`` int64 (n); ``model``:
    (name, version) of each; ``rejects`` by row. ``events`` holds the scored events, partition by partition: the first
    row, the records, and where each row's is among them.
    """

    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    kind: NDArray[np.uint8]
    gone: NDArray[np.bool_]
    numbers: NDArray[np.float64]
    published_ms: NDArray[np.int64]
    model: list[tuple[bytes, bytes]]
    rejects: dict[int, Reject]
    events: Sequence[tuple[int, Batch, NDArray[np.int64]]]

    @classmethod
    def none(cls) -> Outcomes:
        """Of no rows."""
        none = np.zeros(0, np.int64)
        small, no = none.astype(np.uint8), none.astype(np.bool_)
        return cls(none.astype(np.int32), none, small, no, np.zeros((0, _NUMBERS)), none, [], {}, [])

    def __len__(self) -> int:
        return len(self.kind)

    def find(self, partition: NDArray[np.int32], offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these rows, some of ours in our order, are among ours."""
        if len(offset) == len(self):
            return np.arange(len(self))
        ours = zip(self.partition.tolist(), self.offset.tolist(), strict=True)
        at = {place: number for number, place in enumerate(ours)}
        return np.array([at[place] for place in zip(partition.tolist(), offset.tolist(), strict=True)], int)

    def scored_event(self, row: int) -> bytes:
        """The scored event of a row of kind SCORED."""
        first, batch, at = next(one for one in reversed(self.events) if one[0] <= row)
        return batch.values[int(at[row - first])] or b""


def paired(ready: Sequence[Ready]) -> tuple[Batch, Outcomes]:
    """The rows of several partitions, one at least, as a batch with its outcomes."""
    parts = [_outcomes(one) for one in ready]
    partition = np.concatenate([part.partition for part in parts])
    offset = np.concatenate([part.offset for part in parts])
    first = np.cumsum([0, *(len(part) for part in parts[:-1])]).tolist()
    outcomes = Outcomes(
        partition,
        offset,
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.gone for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.published_ms for part in parts]),
        [model for part in parts for model in part.model],
        {
            base + row: reject
            for base, part in zip(first, parts, strict=True)
            for row, reject in part.rejects.items()
        },
        [(base, batch, at) for base, part in zip(first, parts, strict=True) for _, batch, at in part.events],
    )
    there = [one.inputs.batch for one in ready if one.inputs is not None]
    batch = batches.joined(there) if there else _nothing()
    if outcomes.gone.any():
        batch = batches.with_gaps(batch, np.where(outcomes.gone, -1, 0), partition, offset)
    return batch, outcomes


def _outcomes(ready: Ready) -> Outcomes:
    merged, count = ready.merged, len(ready.merged)
    kind = np.full(count, NOTHING, np.uint8)
    numbers = np.zeros((count, _NUMBERS))
    published_ms = np.zeros(count, np.int64)
    model = [(b"", b"")] * count
    rejects: dict[int, Reject] = {}
    events = []
    if ready.rejected is not None:
        for row in np.flatnonzero(merged.reject_at >= 0).tolist():
            reject = ready.rejected.rejects[int(merged.reject_at[row])]
            rejects[row], model[row] = reject, (b"", reject.model_version.encode())
            kind[row], published_ms[row] = REJECTED, reject.time_ms
    if ready.scored is not None:
        scored = ready.scored
        rows = np.flatnonzero(merged.scored_at >= 0)
        kind[rows] = SCORED
        numbers[rows] = scored.numbers
        published_ms[rows] = scored.batch.timestamp_ms
        if len(rows) == count:
            model = scored.model
        else:
            for row, of_row in zip(rows.tolist(), scored.model, strict=True):
                model[row] = of_row
        events = [(0, scored.batch, merged.scored_at)]
    return Outcomes(
        np.full(count, ready.partition, np.int32),
        merged.key,
        kind,
        merged.input_at < 0,
        numbers,
        published_ms,
        model,
        rejects,
        events,
    )


def _nothing() -> Batch:
    empty = np.zeros(0, np.int64)
    blobs = Blobs.of([])
    return Batch(blobs.data, blobs.ends, blobs.null, empty.astype(np.int32), empty, empty, blobs)
