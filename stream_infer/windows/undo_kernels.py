"""Kernels of UndoLog: keep a slot with its row as it is, put all kept ones back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import kernel, kernel_part
from stream_infer.windows.layout import NONE

__all__ = ["COUNT", "WHOLE", "Kept", "keep", "keep_new", "keep_slot", "put_back"]

COUNT, WHOLE = range(2)
"""Kept.counters: entries in use; 1 while everything that was changed is in them."""


class Kept(NamedTuple):
    """The arrays of an UndoLog. An entry is a slot's number, the slot and its row as they were.

    ``entry_of`` is a sparse set: slot ``s`` has an entry if ``entry_of[s]`` is one in use and its number is ``s``. So
    nothing has to be cleared when the log begins anew. ``row_kept``: how many values of the row are in the entry as
    well, from its start. An entry whose slot has partition NONE is of a slot that was free.
    """

    entry_of: NDArray[np.int32]
    numbers: NDArray[np.int64]
    slots: NDArray[np.void]
    rows: NDArray[np.float32]
    row_kept: NDArray[np.int32]
    counters: NDArray[np.int64]


@kernel_part
def keep_slot(kept: Kept, slots: NDArray[np.void], s: int) -> int:
    """Keep a slot that is about to change, unless it is in the log; returns its entry, NONE where there is no room."""
    if not kept.counters[WHOLE]:
        return NONE
    entry = int(kept.entry_of[s])
    if entry < kept.counters[COUNT] and kept.numbers[entry] == s:
        return entry
    entry = int(kept.counters[COUNT])
    if entry == len(kept.numbers):
        kept.counters[WHOLE] = 0
        return NONE
    kept.counters[COUNT] += 1
    kept.entry_of[s] = entry
    kept.numbers[entry] = s
    kept.row_kept[entry] = 0
    kept.slots[entry] = slots[s]
    return entry


@kernel_part
def keep(kept: Kept, slots: NDArray[np.void], rows: NDArray[np.float32], s: int, length: int) -> None:
    """Keep a slot and the first ``length`` values of its row, all that is used of it: both are about to change."""
    entry = keep_slot(kept, slots, s)
    if entry != NONE and not kept.row_kept[entry]:
        kept.row_kept[entry] = length
        row, copy = rows[s], kept.rows[entry]
        for f in range(length):
            copy[f] = row[f]


@kernel
def keep_new(kept: Kept, numbers: NDArray[np.int64]) -> None:
    """Note that these slots were free."""
    for s in numbers:
        entry = kept.counters[COUNT]
        if entry == len(kept.numbers):
            kept.counters[WHOLE] = 0
            return
        kept.counters[COUNT] += 1
        kept.entry_of[s] = entry
        kept.numbers[entry] = s
        kept.row_kept[entry] = 1  # nothing more in it is worth keeping
        kept.slots[entry].partition = NONE


@kernel
def put_back(
    kept: Kept, slots: NDArray[np.void], rows: NDArray[np.float32], were_free: NDArray[np.int64]
) -> int:
    """Put every kept slot and row back; write the slots that were free to ``were_free`` and return how many."""
    n = 0
    for entry in range(kept.counters[COUNT]):
        s = kept.numbers[entry]
        if s == NONE:
            continue
        if kept.slots[entry].partition == NONE:
            were_free[n] = s
            n += 1
            continue
        key_start = slots[s].key_start  # keys move when they are packed
        slots[s] = kept.slots[entry]
        slots[s].key_start = key_start
        row, copy = rows[s], kept.rows[entry]
        for f in range(kept.row_kept[entry]):
            row[f] = copy[f]
    return n
