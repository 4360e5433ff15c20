"""A comparison topic as pairs: any stretch of it, as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.reading import PairReader
from stream_infer.topic_reader import TopicReader, offset_of

__all__ = ["TopicPairs"]

_CHUNK: Final = 10_000


class TopicPairs:
    """Reads by an assignment of its own: no group, no offsets moved. Raises BrokerError."""

    def __init__(self, topic: TopicReader, reader: PairReader) -> None:
        self._topic = topic
        self._reader = reader

    def spans(self) -> dict[int, tuple[int, int]]:
        """First offset and end of each partition that has records."""
        return self._topic.spans()

    def read(self, partition: int, first: int, end: int) -> Iterator[Pairs]:
        """Yield what is committed between two offsets, in order, some at a time."""
        chunk: list[Any] = []
        for messages in self._topic.chunks({partition: (first, end)}):
            chunk += messages
            if len(chunk) >= _CHUNK:
                yield self._pairs(partition, chunk)
                chunk = []
        if chunk:
            yield self._pairs(partition, chunk)

    def _pairs(self, partition: int, chunk: list[Any]) -> Pairs:
        offset = np.array([offset_of(one) for one in chunk], np.int64)
        numbers = np.full(len(chunk), partition, np.int32)
        return self._reader.read(numbers, offset, [one.value() or b"" for one in chunk])
