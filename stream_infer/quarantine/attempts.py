"""How many workers died at a place, counted where the next owner will look: beside the committed offset.

Before the first rows after a restore are worked on, the unchanged offset is committed with a note: so many died here,
and this process tries now. The next commit past it clears the note. Whoever restores the partition and finds
the note of another process knows that one more died. From ``deaths_max`` on the rows that the dead may have had
in hand are *suspect*: one of them may kill whoever works on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Batch

__all__ = ["Attempts"]

_NOTE = re.compile(r"stream-infer deaths=(\d{1,6}) by=([0-9a-f]{0,32})")
_PART_EVENTS = 256
"""Rows tried together at first. The sandbox takes them about as fast as the worker does."""


class Attempts:
    """The partitions that this process has yet to prove: those without a commit since their restore.

    ``reach`` bounds how many offsets past its last commit a worker can have been. ``name`` tells this process from all
    others (hexadecimal). ``replay_from`` gives the offset a replay of a partition starts at, if lost at a position.
    """

    def __init__(
        self, deaths_max: int, reach: int, name: str, replay_from: Callable[[int, int], int]
    ) -> None:
        self._deaths_max = deaths_max
        self._reach = reach
        self._name = name
        self._replay_from = replay_from
        self._open: dict[int, _Attempt] = {}
        self._announcing: set[int] = set()

    @property
    def quiet(self) -> bool:
        """Whether every partition is proved; then nothing here needs to be asked."""
        return not self._open

    @property
    def suspects(self) -> frozenset[int]:
        """Partitions with suspect rows ahead, or with a killer among the rows that a replay would read again."""
        return frozenset(p for p, a in self._open.items() if a.deaths >= self._deaths_max)

    def place(self, partition: int, committed: int, end: int, note: str) -> None:
        """A partition is restored: its committed offset, the end of its records, the note of the commit."""
        found = _NOTE.fullmatch(note)
        deaths, by = (int(found[1]), found[2]) if found else (0, "")
        self._open[partition] = _Attempt(
            committed,
            deaths + (by not in {"", self._name}),
            until=min(end, committed + self._reach),
            announced=by == self._name,
        )

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are restored again, or are no longer ours."""
        for partition in partitions:
            self._open.pop(partition, None)
            self._announcing.discard(partition)

    def announce(self, batch: Batch) -> bool:
        """Whether a commit must say that we try, before the batch is worked on; it says so of all its partitions."""
        present = set(np.unique(batch.partition).tolist())
        self._announcing |= {p for p in present & self._open.keys() if not self._open[p].announced}
        return bool(self._announcing)

    def starts(self) -> dict[int, int]:
        """Positions to commit unchanged, for the announcements that wait."""
        return {p: self._open[p].committed for p in sorted(self._announcing)}

    def withdrawn(self, partitions: Iterable[int]) -> dict[int, int]:
        """Give these partitions up in peace: positions to commit unchanged, so that it counts as no death."""
        announced = {p: self._open[p] for p in partitions if p in self._open and self._open[p].announced}
        for attempt in announced.values():
            attempt.leaving = True
        return {p: attempt.committed for p, attempt in announced.items()}

    def note(self, partition: int, position: int) -> str:
        """What to commit beside a position: how many died here and who tries now; nothing once it is proved."""
        attempt = self._open.get(partition)
        if attempt is None or self._proved(partition, attempt, position):
            return ""
        return f"stream-infer deaths={attempt.deaths} by={'' if attempt.leaving else self._name}"

    def confirm(self, positions: dict[int, int]) -> None:
        """These positions are committed, with their notes."""
        for partition, position in positions.items():
            attempt = self._open.get(partition)
            if attempt is None:
                continue
            if self._proved(partition, attempt, position):
                self.forget([partition])
            else:
                attempt.passed += position > attempt.committed
                attempt.committed, attempt.announced = position, True
                self._announcing.discard(partition)

    def suspect(self, batch: Batch) -> NDArray[np.bool_]:
        """Which rows of the batch are suspect."""
        found = np.zeros(len(batch), np.bool_)
        for partition in self.suspects:
            found |= (batch.partition == partition) & (batch.offset < self._open[partition].until)
        return found

    def part_events(self, partition: int) -> int:
        """How many suspect rows to try together: fewer with each worker that died although they were tried.

        Each part that is committed doubles the next one. Workers that died of something else, one after the other,
        would else leave a partition that crawls, a commit for each event; and a killer that only a worker dies of is
        still closed in on: whoever dies of it has committed at least half the way to it.
        """
        attempt = self._open.get(partition)
        if attempt is None:
            return 1
        fewest = max(1, _PART_EVENTS >> min(30, attempt.deaths - self._deaths_max))
        return min(_PART_EVENTS, fewest << min(30, attempt.passed))

    def found(self, partition: int, offset: int) -> None:
        """A killer: the partition stays suspect until no replay would read it again."""
        if partition in self._open:
            self._open[partition].killer = max(offset, self._open[partition].killer)

    @property
    def found_any(self) -> bool:
        """Whether a replay would read a killer again, so that all state is to be written."""
        return any(attempt.killer >= 0 for attempt in self._open.values())

    def _proved(self, partition: int, attempt: _Attempt, position: int) -> bool:
        if position <= attempt.committed:
            return False
        if attempt.deaths < self._deaths_max:
            return True
        return position >= attempt.until and self._replay_from(partition, position) > attempt.killer


@dataclass(slots=True)
class _Attempt:
    """One partition since its restore. ``killer``: the last one found (-1: none); ``passed``: parts committed."""

    committed: int
    deaths: int
    until: int
    announced: bool
    killer: int = -1
    passed: int = 0
    leaving: bool = False
