"""The partitions this worker owns, from assignment to revocation: restored, read, parked, rewound, given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from stream_infer.assignment import Assignment
from stream_infer.checkpoint import Checkpoint
from stream_infer.delivery.delivery import Delivery, Undone
from stream_infer.delivery.source import InputSource
from stream_infer.log import get_logger
from stream_infer.quarantine.attempts import Attempts
from stream_infer.records import Batch
from stream_infer.restore import Restore

__all__ = ["Partitions"]

_LOG = get_logger(__name__)
_PARKED_S = 1.0


class _Table(Protocol):
    def drop(self, partition: int) -> None: ...

    def commit(self) -> None: ...

    def undo(self) -> bool: ...


class Partitions:
    """Answers rebalances, and keeps assignment, entity table and fetching in step.

    A revoke always drops the open delivery: the broker checks that we are a member, not that a partition is still
    ours, and the client does not reliably say when it was lost (librdkafka #5604). What was in the
    delivery is read again, by whoever owns it then. Where it is known that nothing of it counts, the kept partitions
    go back in memory: the table undoes the delivery, and they read on from where the last one ended. Else, they
    restore. ``changed`` is called after each change, with its reason.
    """

    def __init__(
        self,
        source: InputSource,
        delivery: Delivery,
        assignment: Assignment,
        attempts: Attempts,
        table: _Table,
        checkpoint: Checkpoint,
        restore: Restore,
        changed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._assignment = assignment
        self._attempts = attempts
        self._table = table
        self._checkpoint = checkpoint
        self._restore = restore
        self._changed = changed
        self._parked: dict[int, tuple[int, float]] = {}
        self._undone: set[int] = set()

    def open(self) -> None:
        """Get ready for the first assignment."""
        self._restore.open()

    def assigned(self, partitions: Sequence[int]) -> None:
        """Restore these partitions before anything of them is read."""
        self._assignment.assign(partitions)
        self._restore.forget()
        self._tell("assigned", partitions)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """Drop the open delivery and give these partitions up; the kept ones are rewound."""
        reason = "lost" if lost else "revoked"
        if self._delivery.opened_at is not None:
            known = self._delivery.abort(reason)
            self._go_back(known=known and not lost)
        if not lost:
            self._withdraw(partitions)
        self._attempts.forget(partitions)
        self._assignment.revoke(partitions)
        self._checkpoint.forget(partitions)
        self._undone.difference_update(partitions)
        for partition in partitions:
            self._parked.pop(partition, None)
            self._table.drop(partition)
        self._restore.forget()
        self._tell(reason, partitions)

    def rewind(self, reason: str, *, known: bool) -> None:
        """Go back to before the delivery that was dropped, in every partition.

        ``known``: it is certain that nothing of it counts; else the broker is asked.
        """
        self._go_back(known=known)
        _LOG.info("rewound", reason=reason, partitions=sorted(self._assignment.owned))
        self._changed("rewound")

    def step(self) -> None:
        """Put back what was undone, do a slice of restoring, try again what was parked long enough."""
        for partition in sorted(self._undone):
            self._put_back(partition)
        self._undone.clear()
        self._restore.step()
        now = time.monotonic()
        for partition, (offset, until) in list(self._parked.items()):
            if now >= until:
                del self._parked[partition]
                self._unpark(partition, offset)

    def close(self) -> None:
        """Let go of what restoring holds; no delivery is made any more."""
        self._attempts.forget(self._assignment.owned)
        self._restore.close()

    def busy(self) -> bool:
        """Whether ``step`` has work to do at once."""
        return bool(self._assignment.restoring) and not self._restore.waits

    def replaying(self) -> bool:
        """Whether rows are read that were published before."""
        return bool(self._assignment.replaying)

    def unpinned(self) -> bool:
        """Whether the start of a new group is still to be committed."""
        return self._assignment.unpinned

    def admit(self, batch: Batch) -> Batch:
        """The rows that are ours to work on now, in order; the positions move past them."""
        if self._parked:  # the batch may have been polled before
            batch = batch.take(~np.isin(batch.partition, list(self._parked)))
        admitted = self._assignment.admit(batch)
        return batch if admitted.all() else batch.take(admitted)

    def park(self, batch: Batch, waiting: NDArray[np.int64]) -> Batch:
        """Leave out each partition of the batch from its first waiting row on, and read that row again later."""
        kept = np.ones(len(batch), np.bool_)
        for partition in np.unique(batch.partition[waiting]).tolist():
            first = int(waiting[batch.partition[waiting] == partition][0])
            offset = int(batch.offset[first])
            kept[first:] &= batch.partition[first:] != partition
            self._source.pause([partition])
            self._assignment.hold(partition, offset)
            self._parked[partition] = (offset, time.monotonic() + _PARKED_S)
        return batch.take(kept)

    def announce(self, batch: Batch) -> bool:
        """Whether a commit must go before the work on this batch: the first of a partition since its restore."""
        return self._attempts.announce(batch)

    def published(self, batch: Batch) -> NDArray[np.bool_]:
        """Which rows of the batch are to be published; the others are a replay."""
        return self._assignment.published(batch.partition, batch.offset)

    def positions(self) -> dict[int, int]:
        """What a commit has to say of the input."""
        return self._attempts.starts() | self._assignment.positions()

    def savable(self, positions: dict[int, int]) -> dict[int, int]:
        """Of these positions, those whose state may be written: in a replay the table still lacks rows."""
        replaying = self._assignment.replaying
        return {p: offset for p, offset in positions.items() if p not in replaying}

    def confirm(self, positions: dict[int, int]) -> None:
        """These positions are committed."""
        self._attempts.confirm(positions)
        self._assignment.confirm(positions)
        self._table.commit()

    def settle(self) -> None:
        """No delivery is open: what was worked on was a replay, and is never taken back."""
        self._assignment.settle()
        self._table.commit()

    def unsaved(self) -> dict[int, int]:
        """Positions of the running partitions with state that only this process has."""
        running = self._assignment.running - self._assignment.replaying
        positions = {p: self._assignment.next_offset(p) for p in sorted(running)}
        return {p: offset for p, offset in positions.items() if not self._checkpoint.clean(p, offset)}

    def withdraw(self) -> None:
        """Leave every partition in peace: what is not proved yet counts as no death."""
        self._withdraw(self._assignment.owned)

    def _withdraw(self, partitions: Iterable[int]) -> None:
        left = self._attempts.withdrawn(partitions)
        if left:
            try:
                self._delivery.commit(left, self._source.membership, lambda: None)
            except Undone as undone:
                _LOG.info("not withdrawn, counts as a death", partitions=sorted(left), reason=str(undone))

    def _unpark(self, partition: int, offset: int) -> None:
        try:
            self._source.resume_at(partition, offset)
        except KafkaException as failure:  # it is about to be revoked, or the brokers are gone
            _LOG.warning("cannot seek", partition=partition, reason=failure.args[0].str())
            self._parked[partition] = offset, time.monotonic() + _PARKED_S

    def _go_back(self, *, known: bool) -> None:
        """Stop every partition. Where the next ``step`` finds it depends on what is known.

        It is not put back at once: the batch that is just being polled may hold rows from further ahead.
        """
        running = self._assignment.running
        self._source.pause(running)
        self._parked.clear()
        self._assignment.rewind(running)
        self._restore.forget()
        if known and self._table.undo():
            self._checkpoint.undone(running)
            self._undone |= running
        else:
            self._forget(running | self._undone)
            self._undone.clear()

    def _put_back(self, partition: int) -> None:
        offset = self._assignment.put_back(partition)
        try:
            self._source.resume_at(partition, offset)
        except KafkaException as failure:  # it is about to be revoked, or the brokers are gone
            _LOG.warning("cannot seek", partition=partition, reason=failure.args[0].str())
            self._assignment.rewind([partition])
            self._forget([partition])

    def _forget(self, partitions: Iterable[int]) -> None:
        """What is remembered of these partitions goes: they restore from what the broker has."""
        self._checkpoint.forget(partitions)
        self._attempts.forget(partitions)
        self._restore.forget()

    def _tell(self, reason: str, partitions: Iterable[int]) -> None:
        _LOG.info(
            reason,
            partitions=sorted(partitions),
            owned=sorted(self._assignment.owned),
        )
        self._changed(reason)
