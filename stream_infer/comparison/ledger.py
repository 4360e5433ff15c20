"""Statistics by partition, versions, segment and window, each with the position up to which it has counted.

A cell never counts a record twice: it skips those below its position. So a reader may go back to any place that no cell
is behind of, and read on; the counts come out as if it had never stopped.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.segments import ALL, Segments
from stream_infer.comparison.statistics import Entries, Statistics, entries_of
from stream_infer.comparison.tally import KIND_BITS, Tally, added_up

__all__ = ["Cell", "CellKey", "Ledger", "Windows"]

_KEY_BITS: Final = KIND_BITS + 4
"""Of a tally's key: there are at most 16 kinds."""
_NEVER: Final = 1 << 62


class CellKey(NamedTuple):
    """Names a cell. ``start_ms`` is that of its window, 0 for the window ``total``."""

    partition: int
    versions: Versions
    segment: str
    window: str
    start_ms: int


@dataclass(slots=True)
class Cell:
    """Statistics of the records below ``position`` (an offset in the comparison topic's partition)."""

    position: int = 0
    statistics: Statistics = field(default_factory=Statistics)


@dataclass(frozen=True, slots=True)
class Windows:
    """Tumbling windows of event time: how long a block of evidence is, how many of each kind are kept.

    Minutes and hours are kept per segment, blocks for all events together (see ``verdict``). The newest ones that hold
    events are kept, however far apart: an event with a wild time takes the place of one window, not of all.
    """

    block_s: int = 600
    minutes: int = 60
    hours: int = 168
    blocks: int = 52_560

    def span_ms(self, window: str) -> int:
        """Length of one window."""
        return {"minute": 60_000, "hour": 3_600_000, "block": self.block_s * 1000}[window]

    def kept(self, window: str) -> int:
        """How many are kept."""
        return {"minute": self.minutes, "hour": self.hours, "block": self.blocks}[window]


class _Group(NamedTuple):
    """Cells of one kind of window; ``segment`` (int64, n) is the number of each row's in ``names``, -1: none."""

    window: str
    names: tuple[str, ...]
    segment: NDArray[np.int64]


class Ledger:
    """Adds pairs up. ``add`` says which cells changed and which were dropped, for whoever stores them."""

    def __init__(self, windows: Windows, segments: Segments) -> None:
        self.windows = windows
        self.cells: dict[CellKey, Cell] = {}
        self._segments = segments
        self._starts: dict[tuple[Versions, str, str], set[int]] = {}
        self._gone: set[CellKey] = set()
        self._partitions: set[int] = set()

    def load(self, key: CellKey, cell: Cell) -> None:
        """Take a stored cell back."""
        self.cells[key] = cell
        self._partitions.add(key.partition)
        if key.window != "total":
            self._starts.setdefault(_course(key), set()).add(key.start_ms)
        if key.segment.startswith("entity:"):
            self._segments.admit((key.segment.removeprefix("entity:"),))

    def add(self, pairs: Pairs) -> tuple[set[CellKey], set[CellKey]]:
        """Count pairs; returns the keys of cells that changed, and of those that are gone.

        Records may come again, within a call or in a later one. What is new comes in the order of each partition.
        """
        pairs = _once(pairs)
        touched: set[CellKey] = set()
        if not len(pairs):
            return touched, set()
        self._gone = set()
        self._partitions |= set(np.unique(pairs.partition).tolist())
        if self._segments.admit(pairs.entity):
            self._gone = {key for key in self.cells if not self._segments.keeps(key.segment)}
        for group, entries in self._groups(pairs):
            touched |= self._count(pairs, group, entries)
        for key in self._gone:
            self.cells.pop(key, None)
        return touched - self._gone, self._gone

    def select(self, window: str) -> dict[tuple[Versions, str], dict[int, Statistics]]:
        """Return what is kept of one kind of window, partitions together.

        Versions and segment -> start (ms) -> statistics, starts ascending.
        """
        found: dict[tuple[Versions, str], dict[int, Statistics]] = {}
        for key, cell in self.cells.items():
            if key.window == window:
                starts = found.setdefault((key.versions, key.segment), {})
                starts.setdefault(key.start_ms, Statistics()).merge(cell.statistics)
        kept = 1 if window == "total" else self.windows.kept(window)
        return {name: dict(sorted(starts.items())[-kept:]) for name, starts in sorted(found.items())}

    def entries(self, pairs: Pairs, *, evidence_only: bool) -> Entries:
        """What of pairs is counted here."""
        return entries_of(pairs, evidence_only=evidence_only)

    def _groups(self, pairs: Pairs) -> Iterator[tuple[_Group, Entries]]:
        """The segments and windows that pairs are counted in, and what is counted there."""
        entries = self.entries(pairs, evidence_only=False)
        for names, segment in self._segments.of(pairs):
            for window in ("total", "hour", "minute"):
                yield _Group(window, names, segment), entries
        every = np.zeros(len(pairs), np.int64)
        yield _Group("block", (ALL,), every), self.entries(pairs, evidence_only=True)

    def _count(self, pairs: Pairs, group: _Group, entries: Entries) -> set[CellKey]:
        """Add to the cells of a group."""
        keys, chosen, cell_of = self._cells_of(pairs, group)
        if not keys:
            return set()
        positions = np.array(self._first_wanted(keys))
        fresh = pairs.offset[chosen] >= positions[cell_of]
        chosen, cell_of = chosen[fresh], cell_of[fresh]
        self._add_tallies(keys, pairs, chosen, cell_of, entries)
        return self._add_rest(keys, pairs, chosen, cell_of)

    def _cells_of(
        self, pairs: Pairs, group: _Group
    ) -> tuple[list[CellKey], NDArray[np.int64], NDArray[np.int64]]:
        """Keys of cells, the rows that belong to one, and the number of each such row's."""
        start_ms = self._starts_of(pairs, group.window)
        chosen = np.flatnonzero(group.segment >= 0)
        if not len(chosen):
            return [], chosen, chosen
        columns = (pairs.partition, pairs.versions_code, group.segment, start_ms)
        first, cell_of = _distinct([column[chosen] for column in columns])
        rows = (column[chosen[first]].tolist() for column in columns)
        keys = [
            CellKey(partition, pairs.versions[code], group.names[place], group.window, start)
            for partition, code, place, start in zip(*rows, strict=True)
        ]
        return keys, chosen, cell_of

    def _add_tallies(
        self,
        keys: list[CellKey],
        pairs: Pairs,
        chosen: NDArray[np.int64],
        cell_of: NDArray[np.int64],
        entries: Entries,
    ) -> None:
        """Add the counts of chosen rows, all cells in one pass."""
        of_row = np.full(len(pairs), -1, np.int64)
        of_row[chosen] = cell_of
        there = of_row[entries.rows] >= 0
        codes = (of_row[entries.rows[there]] << _KEY_BITS) | entries.keys[there]
        codes, counts = added_up(codes, entries.counts[there])
        ends = np.searchsorted(codes >> _KEY_BITS, np.arange(len(keys) + 1))
        codes &= (1 << _KEY_BITS) - 1
        for number, key in enumerate(keys):
            first, end = int(ends[number]), int(ends[number + 1])
            if first < end:
                self._cell(key).statistics.tally.add(Tally(codes[first:end], counts[first:end]))

    def _add_rest(
        self, keys: list[CellKey], pairs: Pairs, chosen: NDArray[np.int64], cell_of: NDArray[np.int64]
    ) -> set[CellKey]:
        """Add what is no count: times, errors, the worst; move the positions."""
        if not len(chosen):
            return set()
        order = np.argsort(cell_of, kind="stable")
        rows, cell_of = chosen[order], cell_of[order]
        first = np.flatnonzero(np.r_[True, cell_of[1:] != cell_of[:-1]])
        groups = np.split(rows, first[1:])
        time_ms, failed = pairs.time_ms[rows], ~pairs.both[rows]
        spans = zip(
            cell_of[first].tolist(),
            groups,
            np.minimum.reduceat(np.where(failed, _NEVER, time_ms), first).tolist(),
            np.maximum.reduceat(np.where(failed, -_NEVER, time_ms), first).tolist(),
            (np.maximum.reduceat(pairs.offset[rows], first) + 1).tolist(),
            np.logical_or.reduceat(failed, first).tolist(),
            strict=True,
        )
        touched = set()
        for number, group, first_ms, last_ms, position, fails in spans:
            cell = self._cell(keys[number])
            cell.position = position
            if first_ms <= last_ms:
                cell.statistics.span(first_ms, last_ms)
            if fails:
                cell.statistics.fail(pairs, group[~pairs.both[group]])
            if keys[number].window == "total":
                cell.statistics.worst.add(pairs.take(group))
                cell.statistics.call(
                    {
                        version: name
                        for version, name in pairs.names.items()
                        if version in keys[number].versions
                    }
                )
            touched.add(keys[number])
        return touched

    def _first_wanted(self, keys: list[CellKey]) -> list[int]:
        """From which offset on each cell counts; none where its window is older than those kept."""
        if keys[0].window == "total":
            return [self._position(key) for key in keys]
        self._keep_newest(keys)
        return [self._position(key) if key.start_ms in self._starts[_course(key)] else _NEVER for key in keys]

    def _keep_newest(self, keys: list[CellKey]) -> None:
        """Give windows a place among the newest of their course; those that lose theirs are gone."""
        coming: dict[tuple[Versions, str, str], set[int]] = {}
        for key in keys:
            coming.setdefault(_course(key), set()).add(key.start_ms)
        for course, starts in coming.items():
            kept = self._starts.setdefault(course, set())
            kept |= starts
            excess = len(kept) - self.windows.kept(course[2])
            for start in heapq.nsmallest(excess, kept) if excess > 0 else ():
                kept.discard(start)
                lost = (CellKey(partition, *course, start) for partition in self._partitions)
                self._gone |= {key for key in lost if key in self.cells}

    def _starts_of(self, pairs: Pairs, window: str) -> NDArray[np.int64]:
        if window == "total":
            return np.zeros(len(pairs), np.int64)
        span_ms = self.windows.span_ms(window)
        return pairs.time_ms // span_ms * span_ms

    def _cell(self, key: CellKey) -> Cell:
        return self.cells.setdefault(key, Cell())

    def _position(self, key: CellKey) -> int:
        cell = self.cells.get(key)
        return 0 if cell is None else cell.position


def _course(key: CellKey) -> tuple[Versions, str, str]:
    """Name the windows that a cell's window is one of."""
    return key.versions, key.segment, key.window


def _distinct(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each distinct row of some columns stands first, in ascending order, and the number of each row's.

    Numbers of one column after the other: to sort rows as such takes ten times as long.
    """
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, number = np.unique(column, return_inverse=True)
        code = code * len(values) + number
    _, first, number = np.unique(code, return_index=True, return_inverse=True)
    return first, number


def _once(pairs: Pairs) -> Pairs:
    """Each record once, in the order of its partition: a reader that is sent back hands some over twice."""
    order = np.lexsort((pairs.offset, pairs.partition))
    partition, offset = pairs.partition[order], pairs.offset[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (partition[1:] != partition[:-1]) | (offset[1:] != offset[:-1])
    return pairs if new.all() else pairs.take(order[new])
