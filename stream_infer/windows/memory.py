"""Arrays that grow without moving: address space for as much as the machine has, memory only for what is written.

The kernel hands out zeroed pages on first touch, so growing costs no copy, no second array beside the first
and no pause, and what was never used costs nothing.
"""

from __future__ import annotations

import mmap
import os
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["machine_bytes", "reserved"]

S = TypeVar("S", bound=np.generic)

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)
_LEAST_BYTES = 1 << 26


def machine_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def reserved(count: int, row_shape: tuple[int, ...], dtype: np.dtype[S]) -> NDArray[S]:
    """Zeros of shape (count, *row_shape), fewer rows where the system does not let go of so much address space.

    Raises MemoryError when it does not even give 64 MiB.
    """
    row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
    size = count * row_bytes
    while True:
        try:
            memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
            break
        except OSError as refused:
            # strict overcommit, or a limit on address space
            if size <= _LEAST_BYTES:
                raise MemoryError(f"no address space for {size} bytes of entity state") from refused
            size //= 4
    if _HUGE is not None:
        memory.madvise(_HUGE)
    count = size // row_bytes
    return np.frombuffer(memory, dtype, count * row_bytes // dtype.itemsize).reshape(count, *row_shape)
