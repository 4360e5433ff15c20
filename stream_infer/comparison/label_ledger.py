"""What labels say of the models, apart from all else that is counted: it can be taken back when a label changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.labels import Labels
from stream_infer.comparison.ledger import CellKey, Ledger, Windows
from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.statistics import Entries, Statistics, label_entries, together

__all__ = ["LabelLedger", "Merged"]


class LabelLedger(Ledger):
    """Counts labelled pairs in the same cells as a ledger of everything."""

    def entries(self, pairs: Pairs, *, evidence_only: bool) -> Entries:
        """Labels only."""
        return label_entries(pairs, evidence_only=evidence_only)

    def correct(self, pairs: Pairs, before: NDArray[np.int8]) -> None:
        """Count pairs with the labels they have in the place of those ``before`` (n), where they were counted."""
        changed = np.flatnonzero(pairs.label != before)
        if not len(changed):
            return
        after = pairs.take(changed)
        earlier = replace(after, label=before[changed])
        groups = zip(self._groups(after), self._groups(earlier), strict=True)
        for (group, entries), (_, taken_back) in groups:
            keys, chosen, cell_of = self._cells_of(after, group)
            positions = np.array([self._position(key) for key in keys], np.int64)
            counted = after.offset[chosen] < positions[cell_of]
            both = together(entries, taken_back._replace(counts=-taken_back.counts))
            self._add_tallies(keys, after, chosen[counted], cell_of[counted], both)
            for key in keys:
                if key in self.cells:
                    self.cells[key].statistics.tally.trim()

    def _add_rest(
        self, keys: list[CellKey], pairs: Pairs, chosen: NDArray[np.int64], cell_of: NDArray[np.int64]
    ) -> set[CellKey]:
        """Move the positions: the rest has nothing to do with labels."""
        ends = np.zeros(len(keys), np.int64)
        np.maximum.at(ends, cell_of, pairs.offset[chosen] + 1)
        touched = {keys[number] for number in np.unique(cell_of).tolist()}
        for number in np.unique(cell_of).tolist():
            self._cell(keys[number]).position = int(ends[number])
        return touched


class Merged:
    """Two ledgers read as one: everything but labels, and labels; the worst events with the labels known now."""

    def __init__(self, plain: Ledger, labelled: Ledger, labels: Labels) -> None:
        self.windows: Windows = plain.windows
        self._plain = plain
        self._labelled = labelled
        self._labels = labels

    def select(self, window: str) -> dict[tuple[Versions, str], dict[int, Statistics]]:
        """What is kept of one kind of window, as a ledger says it."""
        found = self._plain.select(window)
        labelled = self._labelled.select(window)
        for name, starts in found.items():
            for start, statistics in starts.items():
                if start in labelled.get(name, {}):
                    statistics.merge(labelled[name][start])
                statistics.worst.relabel(
                    lambda event: self._labels.of_event(event.event_id, event.entity, event.time_ms)
                )
        return found
