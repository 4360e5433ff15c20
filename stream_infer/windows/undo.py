"""UndoLog: what a table was before the open delivery changed it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.layout import NONE, SLOT
from stream_infer.windows.memory import reserved
from stream_infer.windows.undo_kernels import COUNT, WHOLE, Kept, keep_new, put_back

__all__ = ["UndoLog"]

_LARGEST_BYTES = 1 << 27
_LEAST_ENTRIES = 1024


class UndoLog:
    """Slots and rows as they were when the log began, each kept right before it first changes.

    A slot is copied whole, whatever its fields mean. ``capacity`` is the table's; the log itself takes up to 128 MiB
    (some 80,000 entities of 38 features and a window of 5), memory only for what is written: a delivery that changes
    more entities cannot be undone, and neither can what was changed before the first ``begin``.
    """

    def __init__(self, capacity: int, row_length: int) -> None:
        entries = min(capacity, max(_LARGEST_BYTES // (4 * row_length), _LEAST_ENTRIES))
        self.kept = Kept(
            entry_of=reserved(capacity, (), np.dtype(np.int32)),
            numbers=reserved(entries, (), np.dtype(np.int64)),
            slots=reserved(entries, (), SLOT),
            rows=reserved(entries, (row_length,), np.dtype(np.float32)),
            row_kept=reserved(entries, (), np.dtype(np.int32)),
            counters=np.zeros(2, np.int64),
        )
        self._queues = np.empty((0, 2), np.int32)

    @property
    def whole(self) -> bool:
        """Whether everything that changed since ``begin`` is in the log."""
        return bool(self.kept.counters[WHOLE])

    @property
    def bytes_count(self) -> int:
        """Memory of the entries in use."""
        row_bytes: int = 4 * self.kept.rows.shape[1]
        count = int(self.kept.counters[COUNT])
        return count * (SLOT.itemsize + row_bytes)

    def begin(self, queues: NDArray[np.int32]) -> None:
        """Forget everything: from now on the table as it is can be come back to; ``queues`` are its dirty queues."""
        self.kept.counters[COUNT] = 0
        self.kept.counters[WHOLE] = 1
        self._queues = queues.copy()

    def created(self, numbers: NDArray[np.int64]) -> None:
        """These slots were taken just now."""
        keep_new(self.kept, numbers)

    def forget(self, numbers: NDArray[np.int64]) -> None:
        """These slots are no longer the log's business: their entities were dropped or loaded."""
        count = int(self.kept.counters[COUNT])
        if count == 0 or len(numbers) == 0:
            return
        entries = self.kept.entry_of[numbers]
        held = (entries < count) & (self.kept.numbers[np.minimum(entries, count - 1)] == numbers)
        self.kept.numbers[entries[held]] = NONE

    def forget_queue(self, partition: int) -> None:
        """The dirty queue of this partition is empty, and stays so after an undo."""
        self._queues[partition : partition + 1] = NONE

    def undo(
        self, slots: NDArray[np.void], rows: NDArray[np.float32], queues: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Put everything back but the keys; returns the slots that were free, to be released.

        Between two slots of a queue nothing can have come, so their links are right as they were kept. Only the last
        one may have got a successor without changing otherwise.
        """
        were_free = np.empty(int(self.kept.counters[COUNT]), np.int64)
        were_free = were_free[: put_back(self.kept, slots, rows, were_free)]
        queues[:] = NONE
        queues[: len(self._queues)] = self._queues
        tails = queues[queues[:, 1] != NONE, 1]
        slots["next"][tails] = NONE
        return were_free
