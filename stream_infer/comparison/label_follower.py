"""Labels that come at any time, joined to comparisons that may have been counted long ago.

The counts of labels are kept in memory only, and follow from two things that Kafka keeps: the labels and the comparison
topic. New comparisons are read in their order and counted with the labels known by then. When a label comes, or another
one for the same event, the stretches of the topic that may hold its event are read again, and what its event counted
before is exchanged for what it counts now. So nothing is held for labels that may come, however late they are; what is
counted is what a report of the same records says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import numpy as np

from stream_infer.comparison.label_ledger import LabelLedger, Merged
from stream_infer.comparison.labels import Key, Labels
from stream_infer.comparison.ledger import Ledger
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.spans import TimeIndex
from stream_infer.errors import WorkerError

__all__ = ["Comparisons", "LabelFollower", "LabelSource"]

logger = logging.getLogger(__name__)

_REST: Final = 4.0


class Comparisons(Protocol):
    """The comparison topic."""

    def spans(self) -> dict[int, tuple[int, int]]:
        """First offset and end of each partition that has records. Raises WorkerError."""

    def read(self, partition: int, first: int, end: int) -> Iterator[Pairs]:
        """Yield what lies between two offsets. Raises WorkerError."""


class LabelSource(Protocol):
    """Where labels come from."""

    labels: Labels

    def take(self) -> dict[Key, int]:
        """Bring what is new into ``labels``; returns what changed, as it was before. Raises WorkerError."""


class LabelFollower:
    """``turn`` is called again and again, by one thread; ``merged`` and the others may be asked by another.

    ``new_ledger`` makes an empty one. After a correction labels wait ``rest`` times as long as it took, so that new
    comparisons go before old ones. ``is_ready`` says whether all that was there at the start is counted.
    """

    def __init__(
        self,
        source: LabelSource,
        comparisons: Comparisons,
        new_ledger: Callable[[], LabelLedger],
        rest: float = _REST,
    ) -> None:
        self.lock = threading.Lock()
        self.is_ready = False
        self._stopped = False
        self._source = source
        self._comparisons = comparisons
        self._new_ledger = new_ledger
        self._rest = rest
        self._ledger = new_ledger()
        self._positions: dict[int, int] = {}
        self._times: dict[int, TimeIndex] = {}
        self._labels_from = 0.0

    def turn(self) -> None:
        """Take labels and comparisons that came since the last call. What fails is tried again at the next."""
        try:
            self._take_labels()
            self._read_on()
            self.is_ready = True
        except WorkerError as failure:
            logger.warning("labels wait: %s", failure)

    def close(self) -> None:
        """Ends a turn that is under way soon. May be called by another thread."""
        self._stopped = True

    @property
    def labels(self) -> Labels:
        """The labels known by now."""
        return self._source.labels

    def merged(self, plain: Ledger) -> Merged:
        """A ledger of everything else and the labels together; to be read with ``lock`` held."""
        return Merged(plain, self._ledger, self.labels)

    def _take_labels(self) -> None:
        if time.monotonic() < self._labels_from:
            return
        changes = self._source.take()
        if not changes or not self._positions:
            return
        began_at = time.monotonic()
        try:
            rows = sum(self._correct(pairs, changes) for pairs in self._again(changes))
        except WorkerError:
            self._start_anew()  # it is half done
            raise
        took_s = time.monotonic() - began_at
        self._labels_from = began_at + took_s * (1 + self._rest)
        logger.info("labels changed=%d reread=%d took_s=%.3f", len(changes), rows, took_s)

    def _again(self, changes: Mapping[Key, int]) -> Iterator[Pairs]:
        """The pairs counted so far that may be those of these labels, and others."""
        times = [None if isinstance(key, str) else key[1] for key in changes]
        known = None if None in times else np.unique(np.array(times, np.int64))
        there = self._comparisons.spans()
        for partition, index in self._times.items():
            low, high = there.get(partition, (0, 0))
            for first, end in index.of(known):
                if max(first, low) < min(end, high):
                    yield from self._read(partition, max(first, low), min(end, high))

    def _correct(self, pairs: Pairs, changes: Mapping[Key, int]) -> int:
        before = self.labels.before(pairs, changes)
        self.labels.apply(pairs)
        with self.lock:
            self._ledger.correct(pairs, before)
        return len(pairs)

    def _read_on(self) -> None:
        for partition, (low, end) in self._comparisons.spans().items():
            first = max(low, self._positions.get(partition, 0))
            if first < end:
                for pairs in self._read(partition, first, end):
                    self._count(partition, pairs)
                if not self._stopped:
                    self._positions[partition] = end

    def _count(self, partition: int, pairs: Pairs) -> None:
        if not len(pairs):
            return
        self.labels.apply(pairs)
        self._times.setdefault(partition, TimeIndex()).add(pairs.offset, pairs.time_ms)
        with self.lock:
            self._ledger.add(pairs)
            self._positions[partition] = int(pairs.offset[-1]) + 1

    def _read(self, partition: int, first: int, end: int) -> Iterator[Pairs]:
        for pairs in self._comparisons.read(partition, first, end):
            if self._stopped:
                return
            yield pairs

    def _start_anew(self) -> None:
        with self.lock:
            self._ledger = self._new_ledger()
            self._positions, self._times = {}, {}
            self.is_ready = False
