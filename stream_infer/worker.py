"""The worker: poll -> decode -> window -> score -> judge -> publish -> commit, on one thread.

Read ``run`` and ``turn``, then ``work`` and ``commit``: that is the life of a batch. Whatever goes wrong between two
commits ends the same way: the delivery is dropped and the partitions go back (partitions.py). What a batch goes through
between poll and commit is in stages.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from stream_infer.delivery.delivery import MODEL_UNANSWERED, Delivery, Failures, Undone, error_of
from stream_infer.delivery.source import InputSource
from stream_infer.errors import BrokerError, ExhaustedError, ModelServerError, ModelServerGoneError
from stream_infer.log import get_logger
from stream_infer.pace import CommitPace
from stream_infer.partitions import Partitions
from stream_infer.quarantine.quarantine import Quarantine
from stream_infer.records import Batch, Columns, Rejects, Scores
from stream_infer.stages import Decoded, Stages, Swap
from stream_infer.stopwatch import Stopwatch

__all__ = ["Observer", "Worker"]

_LOG = get_logger(__name__)
_IDLE_WAIT_S = 0.1


class Observer(Protocol):
    """Who is told what the worker does: per batch or per event that matters, never per record."""

    def progressed(self) -> None:
        """The owner thread is alive."""

    def connected(self) -> None:
        """The producer is up."""

    def worked(self, batch: Batch, cut_by: str, took_s: dict[str, float]) -> None:
        """A batch went through the stages, each in so many seconds."""

    def published(self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]) -> None:
        """These rows were published; they count when the delivery is committed."""

    def committed(self, positions: dict[int, int], took_s: dict[str, float]) -> None:
        """A delivery counts; its commit spent so many seconds in each step."""

    def undone(self, undone: Undone) -> None:
        """A delivery was dropped."""

    def draining(self) -> None:
        """No more input is taken."""


class Worker:
    """Owns every Kafka call. ``stop`` may be called from anywhere, the rest from one thread."""

    def __init__(
        self,
        source: InputSource,
        partitions: Partitions,
        stages: Stages,
        delivery: Delivery,
        pace: CommitPace,
        quarantine: Quarantine,
        swap: Swap,
        observer: Observer,
    ) -> None:
        self._source = source
        self._partitions = partitions
        self._stages = stages
        self._delivery = delivery
        self._pace = pace
        self._quarantine = quarantine
        self._swap = swap
        self._observer = observer
        self._failures = Failures(observer.progressed)
        self._stopping = False
        self._closing = False
        self._committed_at = 0.0
        self._committed_events = 0

    def run(self, drain_timeout_s: float) -> None:
        """Work until ``stop``, then finish what is in hand and leave the group."""
        try:
            self._partitions.open()
            self._delivery.open()
            self._observer.connected()
            self._source.open(self)
            while not self._stopping:
                self.turn()
            self._drain(time.monotonic() + drain_timeout_s)
        except KafkaException as failure:
            raise BrokerError(f"Kafka: {error_of(failure).str()}. Cure: start the worker again") from failure
        except MemoryError as failure:
            raise ExhaustedError(
                f"no memory is left: {failure}. What is not committed is read again. Cure: give the worker more "
                "memory, lower batch.max_events or batch.max_bytes, or spread the partitions over more workers"
            ) from failure
        finally:
            self._close()

    def stop(self) -> None:
        """Ask ``run`` to drain and return."""
        self._stopping = True

    def turn(self) -> None:
        """One round: restore a slice, rest, take a batch, work on it, commit when due."""
        self._observer.progressed()
        self._partitions.step()
        self._rest()
        watch = Stopwatch()
        batch = self._source.poll(self._wait_s())
        watch.lap("poll")
        try:
            if self._partitions.unpinned():
                self._delivery.begin()  # commits where a new group starts
            if batch is not None:
                self._take(batch, watch)
            if self._due():
                self.commit()
            if self._swap.waits:
                self._swap_model()
        except Undone as undone:
            self._undo(undone)
        except ModelServerGoneError:
            raise
        except ModelServerError as error:
            self._await_model(error)
        if self._delivery.opened_at is None:
            self._partitions.settle()

    def assigned(self, partitions: Sequence[int]) -> None:
        """These partitions are ours from now on; they are paused. Called by the source's ``poll`` and ``serve``."""
        self._partitions.assigned(partitions)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """These partitions are about to go: the open delivery is committed where that is safe, else dropped.

        Whatever was admitted has been published by now, unless an error ended the loop.
        """
        safe = self._delivery.commits_when_revoked and not lost and not self._closing
        if safe and self._delivery.opened_at is not None:
            try:
                self._finish(everything=True)
            except Undone as undone:
                self._go_back(undone)
        self._partitions.revoked(partitions, lost=lost)

    def work(self, batch: Batch, watch: Stopwatch) -> None:
        """Take a batch from payloads to published results, inside the open delivery."""
        batch, decoded = self._decode(self._partitions.admit(batch))
        due = self._partitions.published(batch)
        watch.lap("decode")
        columns, scores, rejects = self._score(batch, decoded.columns, due)
        watch.took_s |= self._stages.scorer.took_s
        watch.skip()
        self._publish(batch, due, columns, scores, [decoded.rejects, *rejects])
        watch.lap("publish")
        self._stages.checkpoint.worked(batch.partition[columns.rows], columns.time_ms, watch.took_s)
        self._observer.worked(batch, self._source.cut_by, watch.took_s)

    def commit(self) -> None:
        """Make the open delivery count, with the positions it brings the input to. Raises Undone."""
        self._source.serve()  # a rebalance that waits is answered now, and may drop the delivery
        if self._delivery.opened_at is not None:
            self._finish()

    def _finish(self, *, everything: bool = False) -> None:
        positions = self._partitions.positions()
        self._committed_events = self._delivery.ledger.inputs
        state = self._write_state(positions, everything=everything)
        self._delivery.commit(positions, self._source.membership, state)
        self._partitions.confirm(positions)
        self._quarantine.settle()
        self._failures.clear()
        self._committed_at = time.monotonic()
        self._observer.committed(positions, self._delivery.took_s)

    def _swap_model(self) -> None:
        """Go on with another model, once nothing is open and all state is written; until then, write some."""
        self.commit()
        if not self._partitions.busy() and not self._partitions.replaying():
            self._save()
            if not self._partitions.unsaved():
                self._stages = self._swap.adopt(self._stages)

    def _save(self) -> None:
        """Write state that only this process has, as much as one commit takes."""
        unsaved = self._partitions.unsaved()
        if unsaved:
            state = self._write_state(unsaved, everything=True)
            self._delivery.commit(unsaved, self._source.membership, state)
            self._partitions.settle()

    def _take(self, batch: Batch, watch: Stopwatch) -> None:
        """Work on a batch. What comes first after a restore is announced; where workers died it is tried first."""
        if self._quarantine.quiet:
            self.work(batch, watch)
            return
        if self._partitions.announce(batch):
            self._delivery.begin()
            self.commit()
        for part, killers in self._quarantine.parts(batch, self.commit, self._attend):
            watch.skip()
            if killers is None:
                self.work(part, watch)
            else:
                self._refuse(part, killers)

    def _refuse(self, batch: Batch, killers: Rejects) -> None:
        """Reject rows that must not be worked on; those of a replay were rejected before."""
        admitted = self._partitions.admit(batch)
        if len(admitted) < len(batch):
            return
        due = self._partitions.published(batch)
        nothing = batch.take(due & ~due)
        columns, scores, _ = self._score(nothing, self._stages.decoder.decode(nothing).columns, due[:0])
        self._publish(batch, due, columns, scores, [killers])
        self._observer.worked(batch, self._source.cut_by, {})

    def _attend(self) -> None:
        """While a trial runs: answer rebalances, and say that we are alive."""
        self._observer.progressed()
        self._source.serve()
        if self._stopping:
            raise Undone("stopping", "in the midst of a trial")

    def _decode(self, batch: Batch) -> tuple[Batch, Decoded]:
        decoded = self._stages.decoder.decode(batch)
        while len(decoded.waiting):
            batch = self._partitions.park(batch, decoded.waiting)
            decoded = self._stages.decoder.decode(batch)
        return batch, decoded

    def _score(
        self, batch: Batch, columns: Columns, due: NDArray[np.bool_]
    ) -> tuple[Columns, Scores, list[Rejects]]:
        partition, offset = batch.partition[columns.rows], batch.offset[columns.rows]
        if not due.all():  # a replay: some of its rows are in the state that was loaded
            fresh = self._stages.scorer.fresh(columns, partition, offset)
            columns, partition, offset = columns.take(fresh), partition[fresh], offset[fresh]
        scored, scores, rejects = self._stages.scorer.score(columns, partition, offset)
        return (columns if len(scored) == len(columns) else columns.take(scored)), scores, rejects

    def _publish(
        self,
        batch: Batch,
        due: NDArray[np.bool_],
        columns: Columns,
        scores: Scores,
        rejects: Sequence[Rejects],
    ) -> None:
        if not due.any():
            return
        if not due.all():
            wanted = due[columns.rows]
            columns, scores = columns.take(wanted), scores.take(wanted)
            rejects = [reject.take(due) for reject in rejects]
        self._delivery.ledger.inputs += int(np.count_nonzero(due))
        columns, scores, rejects = self._stages.publisher.publish(batch, columns, scores, rejects)
        self._observer.published(batch, columns, scores, rejects)

    def _write_state(self, positions: dict[int, int], *, everything: bool = False) -> Callable[[], None]:
        everything = everything or self._quarantine.found_any
        savable = self._partitions.savable(positions)

        def write() -> None:
            self._stages.checkpoint.write(self._delivery.begin(), savable, everything=everything)

        return write

    def _rest(self) -> None:
        """Let the brokers finish the last transaction; meanwhile records arrive in the client."""
        if self._delivery.opened_at is None:
            left_s = self._pace.rest_left_s(time.monotonic(), self._committed_at, self._committed_events)
            if left_s > 0:
                time.sleep(left_s)

    def _due(self) -> bool:
        opened_at = self._delivery.opened_at
        if opened_at is None:
            return False
        full = self._source.cut_by in {"max_events", "max_bytes"}
        return self._pace.due(time.monotonic(), opened_at, self._delivery.ledger.inputs, full=full)

    def _wait_s(self) -> float:
        if self._partitions.busy():
            return 0.0
        opened_at = self._delivery.opened_at
        return _IDLE_WAIT_S if opened_at is None else self._pace.wait_s(time.monotonic(), opened_at)

    def _undo(self, undone: Undone) -> None:
        """Nothing since the last commit counts: drop it, go back, and try again after a while."""
        self._go_back(undone)
        self._failures.add(str(undone))

    def _await_model(self, error: ModelServerError) -> None:
        """The model's server answers nothing to go on with: go back, and come again with the same events.

        The model itself says when to give up.
        """
        undone = Undone(MODEL_UNANSWERED, str(error))
        undone.known = True  # where nothing was published yet; else the abort says
        self._go_back(undone)
        self._failures.wait()

    def _go_back(self, undone: Undone) -> None:
        if self._delivery.opened_at is not None:
            undone.known = self._delivery.abort(undone.cause)
        self._observer.undone(undone)
        self._partitions.rewind(str(undone), known=undone.known)

    def _drain(self, deadline: float) -> None:
        """Commit what is in hand, then all state, so that the next owner has nothing to replay."""
        self._observer.draining()
        try:
            self.commit()
            while time.monotonic() < deadline and self._partitions.unsaved():
                self._observer.progressed()
                self._save()
            self._partitions.withdraw()
        except Undone as undone:
            _LOG.warning("the last events are left to the next owner", reason=str(undone))

    def _close(self) -> None:
        self._closing = True
        with ExitStack() as closing:
            closing.callback(self._source.close)
            closing.callback(self._partitions.close)
            closing.callback(self._delivery.close)
            closing.callback(self._quarantine.close)
