"""A bag of integer counts under integer keys: all that is ever added up here, in one form."""

from __future__ import annotations

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["KIND_BITS", "Tally", "added_up", "key"]

KIND_BITS: Final = 14
"""A key is a kind in the high bits and a code of so many bits."""

_MIDDLE: Final = 1 << (KIND_BITS - 1)
_Ints = NDArray[np.int64]


def key(kind: int, codes: _Ints | int) -> _Ints | int:
    """Key of each code; codes are between minus and plus ``2 ** (KIND_BITS - 1)``."""
    return (kind << KIND_BITS) + codes + _MIDDLE


def added_up(keys: _Ints, counts: _Ints) -> tuple[_Ints, _Ints]:
    """Distinct keys, ascending, and the sum of the counts of each."""
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return ranked[first], np.add.reduceat(counts[order], first)


class Tally:
    """Sparse counts: ``keys`` (int64, ascending) and ``counts`` (int64). Adding is exact, in any order and grouping."""

    __slots__ = ("counts", "keys")

    def __init__(self, keys: _Ints, counts: _Ints) -> None:
        self.keys = keys
        self.counts = counts

    @classmethod
    def empty(cls) -> Self:
        """Nothing counted."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def of(cls, keys: _Ints, counts: _Ints) -> Self:
        """Add up counts under keys as they come."""
        return cls(*added_up(keys, counts))

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        if not len(self.keys):
            self.keys, self.counts = other.keys.copy(), other.counts.copy()
            return
        places = np.searchsorted(self.keys, other.keys)
        known = self.keys[np.minimum(places, len(self.keys) - 1)] == other.keys
        self.counts[places[known]] += other.counts[known]
        if not known.all():
            new = ~known
            self.keys = np.insert(self.keys, places[new], other.keys[new])
            self.counts = np.insert(self.counts, places[new], other.counts[new])

    def trim(self) -> None:
        """Forget keys whose counts were taken back to nothing, as if they had never been counted."""
        there = self.counts != 0
        self.keys, self.counts = self.keys[there], self.counts[there]

    def kind(self, kind: int) -> tuple[_Ints, _Ints]:
        """Return the codes of one kind, ascending, and their counts."""
        first, end = np.searchsorted(self.keys, [kind << KIND_BITS, (kind + 1) << KIND_BITS])
        return self.keys[first:end] - (kind << KIND_BITS) - _MIDDLE, self.counts[first:end]

    def get(self, kind: int, code: int) -> int:
        """Return one count."""
        wanted = key(kind, code)
        place = int(np.searchsorted(self.keys, wanted))
        return int(self.counts[place]) if place < len(self.keys) and self.keys[place] == wanted else 0

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Tally)
            and np.array_equal(self.keys, other.keys)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment] # it can be added to
