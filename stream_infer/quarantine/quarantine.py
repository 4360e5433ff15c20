"""Finds the record that kills the process, where workers died before.

Suspect rows are tried in the sandbox, a part at a time; only what it survived is worked on. A part that kills it
is tried again row by row, which names one row, and that row once more, alone: the sandbox may have died of something
else, such as a machine without memory. Whoever kills it twice alone is rejected with its bytes, stage ``decode`` or
``score``, error ``process_killed``. Where nobody died nothing of this is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.log import get_logger
from stream_infer.quarantine.attempts import Attempts
from stream_infer.quarantine.sandbox import Death, NoSandbox, Sandbox
from stream_infer.records import Batch, Fault, Rejects, Text

__all__ = ["ERROR", "Part", "Quarantine"]

_LOG = get_logger(__name__)

ERROR = "process_killed"
"""Error class of a record that killed the sandbox."""

Part = tuple[Batch, Rejects | None]
"""Rows to work on, or (with rejects) rows that must not be worked on."""


class _Records(Protocol):
    def pairs(self) -> Iterator[tuple[bytes, bytes]]: ...


class _Table(Protocol):
    def find(self, partition: NDArray[np.int32], entity: Text) -> NDArray[np.int64]: ...

    def records(self, slots: NDArray[np.int64]) -> _Records: ...


class Quarantine:
    """Splits batches with suspect rows into what may be worked on and what may not.

    ``table`` holds the state that a trial begins with. ``noted`` is called after each commit while there is something
    to tell: with the number of suspect partitions, and of deaths in the sandbox since the last call.
    """

    def __init__(
        self, attempts: Attempts, sandbox: Sandbox, table: _Table, noted: Callable[[int, int], None]
    ) -> None:
        self.sandbox = sandbox
        self._attempts = attempts
        self._table = table
        self._noted = noted
        self._deaths = 0
        self._told = 0

    @property
    def quiet(self) -> bool:
        """Whether batches can be worked on as they come."""
        return self._attempts.quiet

    @property
    def found_any(self) -> bool:
        """Whether a replay would read a killer again: all state is to be written then."""
        return self._attempts.found_any

    def parts(self, batch: Batch, settle: Callable[[], None], attend: Callable[[], None]) -> Iterator[Part]:
        """The batch in parts, in order per partition; each must be dealt with before the next is asked for.

        Before a trial ``settle`` is called, so that no transaction waits for it, and during it ``attend``.
        """
        suspect = self._attempts.suspect(batch)
        for partition in np.unique(batch.partition[suspect]).tolist():
            rows = np.flatnonzero(suspect & (batch.partition == partition))
            while len(rows):
                step = self._attempts.part_events(partition)
                yield from self._tried(_rows(batch, rows[:step]), settle, attend)
                rows = rows[step:]
        if not suspect.any():
            yield batch, None
        elif not suspect.all():
            yield batch.take(~suspect), None

    def settle(self) -> None:
        """After a commit: end the sandbox when it is no longer needed, and tell."""
        suspects = len(self._attempts.suspects)
        if not suspects:
            self.sandbox.close()
        if suspects != self._told or self._deaths:
            self._noted(suspects, self._deaths)
            self._told, self._deaths = suspects, 0

    def close(self) -> None:
        """End the sandbox."""
        self.sandbox.close()

    def _tried(self, part: Batch, settle: Callable[[], None], attend: Callable[[], None]) -> Iterator[Part]:
        while len(part):
            settle()
            try:
                if self._try(part, len(part), attend) is None:
                    yield part, None
                    return
                death = self._try(part, 1, attend)
            except NoSandbox as reason:
                _LOG.error("no sandbox: suspect rows are worked on one by one", reason=str(reason))
                death = None
            if death is None:  # each survived alone
                yield from ((one, None) for one in _singly(part))
                return
            yield from self._around(part, death, settle, attend)
            part = _rows(part, np.arange(death.row + 1, len(part)))

    def _around(
        self, part: Batch, death: Death, settle: Callable[[], None], attend: Callable[[], None]
    ) -> Iterator[Part]:
        """The rows up to the one that was in work at a death, and that one."""
        if death.row > 0:
            yield from self._tried(_rows(part, np.arange(death.row)), settle, attend)
        one = _rows(part, np.arange(death.row, death.row + 1))
        if len(part) > 1:  # it has died of it alone but once
            settle()
            try:
                again = self._try(one, 1, attend)
            except NoSandbox:
                again = None
            if again is None:
                yield one, None
                return
            death = again
        yield self._convicted(one, death)

    def _try(self, part: Batch, step: int, attend: Callable[[], None]) -> Death | None:
        death = self.sandbox.killed_by(part, step, lambda names: self._state(part, names), attend)
        if death is not None:
            self._deaths += 1
            _LOG.warning(
                "the sandbox died",
                partition=int(part.partition[0]),
                offset=int(part.offset[death.row]),
                rows=min(step, len(part)),
                stage=death.stage,
                reason=death.reason,
            )
        return death

    def _convicted(self, one: Batch, death: Death) -> Part:
        partition, offset = int(one.partition[0]), int(one.offset[0])
        _LOG.error("a record kills the process: rejected", partition=partition, offset=offset)
        self._attempts.found(partition, offset)
        reason = f"a process that worked on it alone did not survive: {death.reason}"
        return one, Rejects.of([(0, Fault(death.stage, ERROR, reason))])

    def _state(self, part: Batch, names: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        entity = Text.of(names)
        slots = self._table.find(np.full(len(entity), part.partition[0], np.int32), entity)
        return self._table.records(slots[slots >= 0]).pairs()


def _rows(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    chosen = np.zeros(len(batch), np.bool_)
    chosen[rows] = True
    return batch.take(chosen)


def _singly(batch: Batch) -> Iterator[Batch]:
    for row in range(len(batch)):
        yield _rows(batch, np.array([row]))
