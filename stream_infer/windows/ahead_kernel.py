"""Kernels that have the memory of entities brought near before a loop comes to them.

Neighbouring rows are of entities that lie far apart: with a million of them each one's slot and row miss the caches,
and the processor would wait for one after the other. So a loop over a batch, whose slots are known, asks for the memory
of the row ``AHEAD`` while it works on the row at hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.intrinsics import prefetch
from stream_infer.kernel import kernel_part

__all__ = ["AHEAD", "expect"]

AHEAD = 4
"""How many rows: enough for memory to answer, so few that what came is still in the first cache."""

_LINE = 16  # float32 values of a cache line


@kernel_part
def expect(slots: NDArray[np.void], values: NDArray[np.float32], s: int, begin: int, end: int) -> None:
    """Ask for a slot, and of ``values``, which are the rows end to end, for those from ``begin`` to ``end``."""
    prefetch(slots, s)
    for at in range(begin, end, _LINE):
        prefetch(values, at)
    prefetch(values, end - 1)
