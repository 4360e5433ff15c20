"""A set of events, as offsets of each partition of the input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Offsets"]


class Offsets:
    """Offsets (int64, rising) by partition; a partition without any is left out."""

    def __init__(self, of: Mapping[int, NDArray[np.int64]]) -> None:
        self._of = {
            partition: np.unique(offsets) for partition, offsets in sorted(of.items()) if len(offsets)
        }

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __sub__(self, other: Offsets) -> Offsets:
        return Offsets(
            {
                partition: np.setdiff1d(offsets, other.of(partition), assume_unique=True)
                for partition, offsets in self._of.items()
            }
        )

    def of(self, partition: int) -> NDArray[np.int64]:
        """Those of one partition."""
        return self._of.get(partition, np.zeros(0, np.int64))

    @property
    def first(self) -> dict[int, int]:
        """The first offset of each partition."""
        return {partition: int(offsets[0]) for partition, offsets in self._of.items()}

    @property
    def stop(self) -> dict[int, int]:
        """Where each partition ends, exclusive."""
        return {partition: int(offsets[-1]) + 1 for partition, offsets in self._of.items()}

    def holds(self, partition: NDArray[np.int32], offset: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are in the set."""
        found = np.zeros(len(offset), np.bool_)
        for number in np.unique(partition).tolist():
            own = partition == number
            found[own] = np.isin(offset[own], self.of(number), assume_unique=True)
        return found
