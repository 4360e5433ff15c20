"""What this worker owns of the input topic, and how far it is: pure book-keeping, no Kafka.

A partition is *restoring* from the moment it is assigned (or rewound) until its state is loaded and it is placed, or
until it is put back where the last delivery ended; only then are its records admitted. Offsets only rise: a record
below the next expected offset is stale (it comes from before a seek) and is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import given, kernel
from stream_infer.records import Batch

__all__ = ["Assignment"]

_CLOSED = np.int64(2**62)
"""Next offset of a partition whose records must not be taken: above any real offset."""


@kernel
def _admit(
    partition: NDArray[np.int32],
    offset: NDArray[np.int64],
    next_offset: NDArray[np.int64],
    admitted: NDArray[np.bool_],
) -> None:
    for row in range(len(partition)):
        number = partition[row]
        admitted[row] = offset[row] >= next_offset[number]
        if admitted[row]:
            next_offset[number] = offset[row] + 1


class Assignment:
    """Partitions by number, with the next offset to read and the first offset to publish.

    Rows below ``publish_from`` are a replay: they rebuild state that a snapshot did not hold yet, and their
    scores are already in the output topic.
    """

    def __init__(self) -> None:
        self._owned: set[int] = set()
        self._restoring: set[int] = set()
        self._next = np.full(0, _CLOSED, np.int64)
        self._publish_from = np.zeros(0, np.int64)
        self._committed: dict[int, int] = {}
        self._settled: dict[int, int] = {}

    @property
    def owned(self) -> frozenset[int]:
        """Partitions assigned to this worker."""
        return frozenset(self._owned)

    @property
    def restoring(self) -> frozenset[int]:
        """Owned partitions whose state is not loaded yet."""
        return frozenset(self._restoring)

    @property
    def replaying(self) -> frozenset[int]:
        """Placed partitions that still read rows which were published before."""
        return frozenset(p for p in self.running if self._next[p] < self._publish_from[p])

    @property
    def running(self) -> frozenset[int]:
        """Owned partitions whose records are admitted."""
        return frozenset(self._owned - self._restoring)

    @property
    def unpinned(self) -> bool:
        """Whether a running partition that is past its warm-up has no committed offset yet."""
        return any(self._committed[p] < self._publish_from[p] <= self._next[p] for p in self.running)

    def assign(self, partitions: Iterable[int]) -> None:
        """Own these partitions; they start restoring."""
        for partition in partitions:
            self._settled.pop(partition, None)
            self._owned.add(partition)
            self.rewind([partition])

    def revoke(self, partitions: Iterable[int]) -> None:
        """Own these partitions no longer."""
        for partition in partitions:
            self._owned.discard(partition)
            self._restoring.discard(partition)
            self._committed.pop(partition, None)
            self._settled.pop(partition, None)
            self._close(partition)

    def rewind(self, partitions: Iterable[int]) -> None:
        """These owned partitions restore again, or are put back."""
        for partition in partitions:
            if partition in self._owned:
                self._restoring.add(partition)
                self._close(partition)

    def place(self, partition: int, read_from: int, committed: int, *, pinned: bool = True) -> None:
        """End the restoring of a partition: read from one offset, publish from the committed one.

        ``pinned`` False: nothing was committed yet, and ``committed`` is where the group starts. It is to be committed
        before anything else, or a crash would start again elsewhere.
        """
        if partition not in self._restoring:
            raise ValueError(f"partition {partition} is not restoring")
        if read_from > committed:
            raise ValueError(f"partition {partition}: reading from {read_from} would skip {committed}")
        self._restoring.discard(partition)
        self._next[partition] = read_from
        self._publish_from[partition] = committed
        self._committed[partition] = committed if pinned else committed - 1
        self._settled[partition] = read_from

    def put_back(self, partition: int) -> int:
        """End the restoring of a rewound partition whose state was undone; returns the offset to read from."""
        if partition not in self._restoring or partition not in self._settled:
            raise ValueError(f"partition {partition} was not rewound")
        self._restoring.discard(partition)
        self._next[partition] = self._settled[partition]
        return self._settled[partition]

    def settle(self) -> None:
        """What running partitions were read up to is theirs for good: an undo goes no further back."""
        for partition in self.running:
            self._settled[partition] = int(self._next[partition])

    def admit(self, batch: Batch) -> NDArray[np.bool_]:
        """Which rows of the batch are to be worked on; the positions move past them."""
        self._grow(int(batch.partition.max(initial=-1)))
        admitted = np.empty(len(batch), np.bool_)
        _admit(given(batch.partition, np.int32), given(batch.offset, np.int64), self._next, admitted)
        return admitted

    def hold(self, partition: int, offset: int) -> None:
        """Take the position of a partition back to an offset whose row could not be worked on yet."""
        self._next[partition] = offset

    def published(self, partition: NDArray[np.int32], offset: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are to be published: those that are not a replay."""
        fresh: NDArray[np.bool_] = offset >= self._publish_from[partition]
        return fresh

    def publish_from(self, partition: int) -> int:
        """The first offset to publish of a running partition."""
        return int(self._publish_from[partition])

    def next_offset(self, partition: int) -> int:
        """The next offset to read of a running partition."""
        return int(self._next[partition])

    def positions(self) -> dict[int, int]:
        """What to commit: the next offset of each running partition that moved past its committed one."""
        return {p: int(self._next[p]) for p in sorted(self.running) if self._next[p] > self._committed[p]}

    def confirm(self, positions: dict[int, int]) -> None:
        """These positions are committed; one may be committed again."""
        for partition, offset in positions.items():
            if offset < self._committed[partition]:
                raise ValueError(
                    f"partition {partition}: committed {self._committed[partition]}, now {offset}"
                )
            self._committed[partition] = offset
        self.settle()

    def _close(self, partition: int) -> None:
        self._grow(partition)
        self._next[partition] = _CLOSED

    def _grow(self, partition: int) -> None:
        missing = partition + 1 - len(self._next)
        if missing > 0:
            self._next = np.append(self._next, np.full(missing, _CLOSED, np.int64))
            self._publish_from = np.append(self._publish_from, np.zeros(missing, np.int64))
