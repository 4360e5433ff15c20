"""Where in a comparison topic the events of a time lie, roughly, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Span", "TimeIndex"]

_RECORDS: Final = 10_000
_MOST: Final = 4_096


class Span(NamedTuple):
    """Offsets from ``first`` to ``end`` (exclusive), whose events lie from ``low_ms`` to ``high_ms`` (inclusive)."""

    first: int
    end: int
    low_ms: int
    high_ms: int

    def joined(self, other: Span) -> Span:
        """Both, and what is between them."""
        return Span(
            min(self.first, other.first),
            max(self.end, other.end),
            min(self.low_ms, other.low_ms),
            max(self.high_ms, other.high_ms),
        )


class TimeIndex:
    """The spans of one partition, in the order of its records; neighbours are joined where there are too many."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, offset: NDArray[np.int64], time_ms: NDArray[np.int64]) -> None:
        """Note records, one at least, that lie behind those noted before."""
        span = Span(int(offset[0]), int(offset[-1]) + 1, int(time_ms.min()), int(time_ms.max()))
        if self._spans and span.end - self._spans[-1].first <= _RECORDS:
            span = self._spans.pop().joined(span)
        self._spans.append(span)
        if len(self._spans) > _MOST:
            ones, others = self._spans[::2], self._spans[1::2]
            joined = [one.joined(other) for one, other in zip(ones, others, strict=False)]
            self._spans = joined + ones[len(others) :]

    def of(self, times_ms: NDArray[np.int64] | None) -> Iterator[tuple[int, int]]:
        """Stretches of offsets that hold all events of these times (ascending); of any time where it is None."""
        first = end = -1
        for span in self._spans:
            if times_ms is not None:
                inside = np.searchsorted(times_ms, [span.low_ms, span.high_ms + 1])
                if inside[0] == inside[1]:
                    continue
            if span.first != end:
                if first >= 0:
                    yield first, end
                first = span.first
            end = span.end
        if first >= 0:
            yield first, end
