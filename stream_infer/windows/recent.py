"""Recent: what the model has just been given, for a candidate to be tried on."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["Recent"]

_ROWS = 500


class Recent:
    """The windows of the last few hundred rows, each with the profile of its entity: references, no copies.

    Filled by one thread, looked at by another.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._count = 0

    def add(self, windows: NDArray[np.float32], profile: NDArray[np.int64]) -> None:
        """Remember a batch, and forget what is not needed any more."""
        if not len(profile):
            return
        self._batches.append((windows, profile))
        self._count += len(profile)
        while self._count - len(self._batches[0][1]) >= _ROWS:
            self._count -= len(self._batches.popleft()[1])

    def rows(self) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Windows (n, W, F) and profiles (n); None before the first batch."""
        batches = list(self._batches)
        if not batches:
            return None
        windows, profiles = zip(*batches, strict=True)
        return np.concatenate(windows)[-_ROWS:], np.concatenate(profiles)[-_ROWS:]
