"""What was read back, as columns: the checker's only food."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["REJECTED", "SCORED", "UNTOLD", "Evidence", "Input", "Manifest", "Outputs", "Sample", "key_of"]

SCORED, REJECTED = 0, 1
UNTOLD = (1 << 48) - 1
"""The offset of an event that is acknowledged, in its partition, at a place of which the producer was not told."""


def key_of(partition: NDArray[Any], offset: NDArray[Any]) -> NDArray[np.int64]:
    """A position as one number."""
    return partition.astype(np.int64) << 48 | offset.astype(np.int64)


@dataclass
class Outputs:
    """Records of the scored topic (kind 0) and of the reject topic (kind 1), row by row.

    ``number`` is the event's; -1 where the record does not say. ``score`` is NaN for rejects. ``time_ms`` is when the
    event was sent, ``received_s`` when the reader had it (both wall clock; 0 for rejects' time).
    """

    kind: NDArray[np.int8]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    source_partition: NDArray[np.int64]
    source_offset: NDArray[np.int64]
    number: NDArray[np.int64]
    score: NDArray[np.float64]
    time_ms: NDArray[np.int64]
    received_s: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All parts in one, sorted by kind, partition, offset."""
        columns = (
            {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
            if parts
            else {f.name: np.empty(0, _DTYPES[f.name]) for f in fields(cls)}
        )
        order = np.lexsort((columns["offset"], columns["partition"], columns["kind"]))
        return cls(**{name: column[order] for name, column in columns.items()})

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def source(self) -> NDArray[np.int64]:
        """The position of the event, as one number."""
        return key_of(self.source_partition, self.source_offset)


_DTYPES = {
    "kind": np.int8,
    "partition": np.int32,
    "offset": np.int64,
    "source_partition": np.int64,
    "source_offset": np.int64,
    "number": np.int64,
    "score": np.float64,
    "time_ms": np.int64,
    "received_s": np.float64,
}


@dataclass
class Input:
    """The input topic, sorted by partition and offset; ``score`` is recomputed, NaN for what must be rejected."""

    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    number: NDArray[np.int64]
    score: NDArray[np.float64]

    @property
    def source(self) -> NDArray[np.int64]:
        """The position as one number."""
        return key_of(self.partition, self.offset)


@dataclass(frozen=True)
class Manifest:
    """What a worker says of one transaction: ``runs`` (n, 3) of partition, first and last offset of the input."""

    worker: str
    number: int
    runs: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Records of the transaction, scored and rejected."""
        return int((self.runs[:, 2] - self.runs[:, 1] + 1).sum())


@dataclass(frozen=True)
class Sample:
    """Resources of one worker process at one moment, ``age_s`` after it was ready."""

    pid: int
    age_s: float
    rss_bytes: int
    threads: int
    descriptors: int


@dataclass
class Evidence:
    """One run, read back.

    ``acked_source`` are positions, the offset of some is UNTOLD. ``committed``, ``ends`` are by input partition;
    ``open_transactions`` names partitions.
    """

    acked_number: NDArray[np.int64]
    acked_source: NDArray[np.int64]
    indeterminate: set[int]
    input: Input
    live: Outputs
    fresh: Outputs
    manifests: list[Manifest]
    committed: dict[int, int]
    ends: dict[int, int]
    open_transactions: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
