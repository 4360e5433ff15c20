"""One partition on its way to pairs: input rows are held until the primary has decided on them.

Nothing is scored before it can be paired. So the entity state never runs ahead of the pairs, and the committed
positions of the three topics say all there is to know after a restart: what waits here is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.shadow.merge import Known, Merged, merge
from stream_infer.shadow.rows import InputRows, Queue, RejectRows, ScoredRows

__all__ = ["Beside", "Pairing", "Ready"]


class Beside(NamedTuple):
    """Where reading goes on in the scored and the reject topic."""

    scored: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Rows of one partition that can go on; of a topic without any of them there is None."""

    partition: int
    merged: Merged
    inputs: InputRows | None
    scored: ScoredRows | None
    rejected: RejectRows | None


class _Fence(NamedTuple):
    """The primary has decided on all events before ``decided``; what it wrote of them lies before ``ends``."""

    decided: int
    ends: Beside


class Pairing:
    """The rows of one partition that wait for the other side.

    Input is read from ``read_from``, and events are paired from ``paired_from`` on, up to ``stop_at`` (exclusive). The
    other two topics are read from ``beside``; results of earlier events are left out.
    """

    def __init__(
        self, partition: int, read_from: int, paired_from: int, beside: Beside, stop_at: int | None = None
    ) -> None:
        self.inputs: Queue[InputRows] = Queue(read_from, read_from)
        self.scored: Queue[ScoredRows] = Queue(beside.scored, paired_from)
        self.rejected: Queue[RejectRows] = Queue(beside.rejected, paired_from)
        self._before = self._after = beside
        self._given_to = paired_from
        self._partition = partition
        self._paired_from = paired_from
        self._stop_at = stop_at
        self._fence: _Fence | None = None
        self._decided = paired_from - 1

    @property
    def queues(self) -> tuple[Queue[Any], Queue[Any], Queue[Any]]:
        """Input, scored and reject topic."""
        return self.inputs, self.scored, self.rejected

    @property
    def stopped(self) -> bool:
        """Whether no more input is wanted."""
        return self._stop_at is not None and self.inputs.position >= self._stop_at

    @property
    def exhausted(self) -> bool:
        """Whether every row up to the stop was given out."""
        return self.stopped and not self.inputs

    @property
    def waits_for(self) -> int | None:
        """The event whose result is waited for, if there is one."""
        if not self.inputs:
            return None
        key = int(self.inputs.keys(1)[0])
        return key if key >= self._paired_from else None

    def take_repeated(self) -> int:
        """Results that came a second time, since the last call."""
        count = self.scored.repeated_count + self.rejected.repeated_count
        self.scored.repeated_count = self.rejected.repeated_count = 0
        return count

    def add_input(self, rows: InputRows) -> None:
        """Take input rows, as far as the stop."""
        if self._stop_at is None or rows.key[-1] < self._stop_at:
            self.inputs.add(rows)
            return
        within = rows.kept(rows.key < self._stop_at)
        if len(within):
            self.inputs.add(within)
        self.inputs.reached(self._stop_at)

    def beside(self, position: int) -> Beside:
        """Where to read on in the other topics when the input is read on at ``position``: there, or a little before.

        What was given out last may not be worked off yet, or only in part.
        """
        return self._after if position >= self._given_to else self._before

    def fence(self, decided: int, ends: Beside) -> None:
        """The primary has committed that it is done with all events before ``decided``.

        ``ends`` were asked for after that, of all records (those of open transactions, too): what the primary wrote of
        these events lies before them. An event without a result then has none.
        """
        self._fence = _Fence(decided, ends)

    def ready(self, limit: int) -> Ready | None:
        """Take out what can go on now: up to ``limit`` rows of each topic."""
        inputs, scored, rejected = (queue.keys(limit) for queue in (self.inputs, self.scored, self.rejected))
        if not (len(inputs) or len(scored) or len(rejected)):
            return None
        self._pass_fence()
        known_scored, known_rejected = (
            self._known(queue, keys) for queue, keys in ((self.scored, scored), (self.rejected, rejected))
        )
        known = Known(
            self._known_input(inputs),
            known_scored,
            min(known_scored, known_rejected),
            self._given_to - 1,
            self._paired_from,
        )
        merged = merge(inputs, scored, rejected, known)
        return self._taken(merged) if len(merged) else None

    def _known_input(self, looked_at: NDArray[np.int64]) -> int:
        """Up to where the input rows looked at are all there are."""
        whole = len(looked_at) == len(self.inputs)
        known = self.inputs.position - 1 if whole else int(looked_at[-1])
        return known if self._stop_at is None else min(known, self._stop_at - 1)

    def _known(self, queue: Queue[Any], looked_at: NDArray[np.int64]) -> int:
        """Up to where the results looked at are all there are."""
        return max(self._decided, queue.last_key) if len(looked_at) == len(queue) else int(looked_at[-1])

    def _taken(self, merged: Merged) -> Ready:
        inputs, scored, rejected = merged.taken
        ready = Ready(
            self._partition,
            merged,
            self.inputs.pop(inputs) if inputs else None,
            self.scored.pop(scored) if scored else None,
            self.rejected.pop(rejected) if rejected else None,
        )
        self._before = self._after
        self._after = Beside(self.scored.first_position(), self.rejected.first_position())
        self._given_to = int(merged.key[-1]) + 1
        self.scored.pass_over(self._given_to)
        self.rejected.pass_over(self._given_to)
        return ready

    def _pass_fence(self) -> None:
        fence = self._fence
        if fence is None:
            return
        if self.scored.position >= fence.ends.scored and self.rejected.position >= fence.ends.rejected:
            self._decided = max(self._decided, fence.decided - 1)
            self._fence = None
