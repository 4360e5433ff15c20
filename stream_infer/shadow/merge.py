"""Which rows of one partition are decided: a merge of three rising sequences of source offsets. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Known", "Merged", "merge"]

NONE = -1
_Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Known:
    """How far each side is known without a gap, in source offsets, inclusive.

    Up to ``input`` every input row has arrived, up to ``scored`` every scored event, up to ``decided`` every result, so
    that an event without one has none. ``given``: what the last merge ended with. ``paired_from``: the first event to
    be paired; earlier ones only rebuild state.
    """

    input: int
    scored: int
    decided: int
    given: int
    paired_from: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows that can go on, rising by ``key``, and where each is in the three sequences, -1 where it is not.

    ``taken`` says how many of each sequence are used up.
    """

    key: _Keys
    input_at: _Keys
    scored_at: _Keys
    reject_at: _Keys
    taken: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.key)


def merge(inputs: _Keys, scored: _Keys, rejected: _Keys, known: Known) -> Merged:
    """Merge up to the first event on which something is still to come; each sequence rises strictly.

    An input row goes on when the primary scored or rejected it, when it is known to have done neither, or when it is
    not to be paired. A result whose input row is not there goes on when the input is known to lack it. A reject goes on
    when no scored event can lie before it: where the row before it is the offset before, or all of those are known.
    """
    same = _plain(inputs, scored, rejected, known.paired_from)
    if same:
        at = np.arange(same)
        return Merged(inputs[:same], at, at, np.full(same, NONE), (same, same, 0))
    key = np.union1d(np.union1d(inputs, scored), rejected)
    input_at, scored_at, reject_at = (_places(key, rows) for rows in (inputs, scored, rejected))
    next_to = np.diff(key, prepend=known.given) == 1
    rejected_for_sure = (reject_at != NONE) & (next_to | (key <= known.scored))
    has_result = (scored_at != NONE) | rejected_for_sure
    settled = has_result | (key < known.paired_from) | (key <= known.decided)
    ready = np.where(input_at != NONE, settled, has_result & (key <= known.input))
    count = len(key) if ready.all() else int(np.argmin(ready))
    taken = tuple(int(np.count_nonzero(at[:count] != NONE)) for at in (input_at, scored_at, reject_at))
    return Merged(key[:count], input_at[:count], scored_at[:count], reject_at[:count], (*taken,))  # type: ignore[arg-type]


def _plain(inputs: _Keys, scored: _Keys, rejected: _Keys, paired_from: int) -> int:
    """How many rows are plain pairs, if that is all there is to say: the usual case, and nearly free."""
    count = min(len(inputs), len(scored))
    if count and len(rejected):
        count = int(np.searchsorted(inputs[:count], rejected[0]))
    if not count or inputs[0] < paired_from or not np.array_equal(inputs[:count], scored[:count]):
        return 0
    return count


def _places(key: _Keys, rows: _Keys) -> _Keys:
    """Where each key is in the rows, -1 where it is not."""
    if not len(rows):
        return np.full(len(key), NONE)
    at = np.minimum(np.searchsorted(rows, key), len(rows) - 1)
    return np.where(rows[at] == key, at, NONE)
