"""What the worker tells of itself, turned into metrics and status."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.assignment import Assignment
from stream_infer.control import Metrics, Status
from stream_infer.delivery.delivery import MODEL_UNANSWERED, Undone
from stream_infer.delivery.membership import NotAMember
from stream_infer.delivery.source import InputSource
from stream_infer.log import get_logger
from stream_infer.records import Batch, Columns, Rejects, Scores

__all__ = ["COMPONENTS", "Observation", "Table"]

_LOG = get_logger(__name__)
_GAUGES_EVERY_S = 1.0

COMPONENTS = ("input", "output", "model", "registry")
"""What must be usable before the worker is ready."""


class Table(Protocol):
    """How large the entity table is."""

    @property
    def entity_count(self) -> int:
        """Entities remembered."""

    @property
    def bytes_count(self) -> int:
        """Memory of their state."""


class Observation:
    """The worker's observer. Gauges are refreshed once a second, everything else as it happens."""

    def __init__(
        self, metrics: Metrics, status: Status, source: InputSource, assignment: Assignment, table: Table
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._source = source
        self._assignment = assignment
        self._table = table
        self._gauges_at = 0.0
        self._draining = False
        self._model_waits = False
        self._uncommitted: list[NDArray[np.int64]] = []

    def progressed(self) -> None:
        """The owner thread is alive."""
        self._status.progress()
        now = time.monotonic()
        if now - self._gauges_at >= _GAUGES_EVERY_S:
            self._gauges_at = now
            self._refresh()

    def worked(self, batch: Batch, cut_by: str, took_s: dict[str, float]) -> None:
        """A batch went through the stages."""
        self._metrics.polled(len(batch), batch.bytes_count, cut_by)
        for stage, seconds in took_s.items():
            self._metrics.stage(stage, seconds)

    def published(self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]) -> None:
        """Rows were published; their latency counts from the commit on."""
        self._metrics.scored(scores)
        for part in rejects:
            for fault, count in part.counts():
                self._metrics.rejected(fault.stage, fault.error, count)
        self._uncommitted.append(batch.timestamp_ms[columns.rows])

    def committed(self, positions: dict[int, int], took_s: dict[str, float]) -> None:  # noqa: ARG002 - the gauges ask for all
        """A delivery counts."""
        self._metrics.committed()
        for step, seconds in took_s.items():
            self._metrics.stage(step, seconds)
        if self._uncommitted:
            self._metrics.delivered(np.concatenate(self._uncommitted), time.time_ns() // 1_000_000)
            self._uncommitted.clear()
        self._status.component("output", ok=True, detail="committed")
        if self._model_waits:
            self._model_waits = False
            self._status.component("model", ok=True, detail="its server answers again")

    def undone(self, undone: Undone) -> None:
        """A delivery was dropped."""
        self._uncommitted.clear()
        self._metrics.aborted(undone.cause)
        if undone.cause == MODEL_UNANSWERED:
            if not self._model_waits:
                _LOG.warning("waiting for the model's server", reason=str(undone))
            self._model_waits = True
            self._status.component("model", ok=False, detail=str(undone))
        else:
            self._status.component("output", ok=False, detail=str(undone))

    def rebuilt(self, reason: str) -> None:
        """The producer was replaced."""
        self._metrics.rebuilt(reason)

    def connected(self) -> None:
        """The producer is up."""
        self._status.component("output", ok=True, detail="connected")

    def rebalanced(self, reason: str) -> None:
        """Partitions came, went, or are restored again."""
        self._metrics.rebalanced(reason)
        if reason in {"revoked", "lost"}:  # what is not committed by now never will be
            self._uncommitted.clear()
        self._gauges_at = 0.0

    def restored(self, partition: int, took_s: float, replayed: int) -> None:  # noqa: ARG002 - no label per partition
        """A partition's state is loaded, and so many rows are to be replayed."""
        self._metrics.restored(1, took_s, replayed)
        self._gauges_at = 0.0

    def swapped(self, name: str, version: str) -> None:
        """From the next batch on, another version of the model scores."""
        self._metrics.followed("swapped")
        self._status.fact(model_refused=None)
        _LOG.info("model swapped", name=name, version=version)

    def refused(self, version: str, reason: str) -> None:
        """A version of the model will not be used."""
        self._metrics.followed("refused")
        self._status.fact(model_refused=f"{version}: {reason}")

    def unfollowed(self, reason: str) -> None:
        """The model registry does not say what to use."""
        self._metrics.followed("no_answer")
        self._status.fact(model_registry=reason)

    def draining(self) -> None:
        """No more input is taken."""
        self._draining = True
        self._status.phase("draining")
        _LOG.info("draining")

    def _refresh(self) -> None:
        running = self._assignment.running
        positions = {p: self._assignment.next_offset(p) for p in sorted(running)}
        ends = {p: self._source.end_seen(p) for p in running}
        self._metrics.lag({p: max(0, (end or 0) - positions[p]) for p, end in ends.items()})
        self._metrics.state(self._table.entity_count, self._table.bytes_count)
        self._metrics.paused(self._source.paused_count)
        waiting = self._source.paused_count - len(self._assignment.restoring)
        self._status.component(
            "registry",
            ok=waiting <= 0,
            detail=f"{waiting} partitions wait for a schema" if waiting > 0 else "schemas at hand",
        )
        self._status.positions(positions)
        self._status.fact(owned=sorted(self._assignment.owned), restoring=sorted(self._assignment.restoring))
        if not self._draining:
            self._status.phase("restoring" if self._assignment.restoring else "running")
        try:
            member = self._source.membership()
        except NotAMember as reason:
            self._status.component("input", ok=False, detail=str(reason))
        else:
            self._status.component("input", ok=True, detail=f"member {member.member} of {member.group}")
