"""The one recovery path: committed offsets, state, replay.

Start, rebalance, abort and crash all end here. For each restoring partition, outside the rebalance callback:

1. ask the broker for the committed offset (a stable one: what is in doubt is waited for);
2. load the partition's state, a slice per step, while the other partitions go on;
3. seek the input to the offset that the state's marker names and place the partition: rows below the committed
   offset are replayed into the state and not published.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from confluent_kafka import KafkaException

from stream_infer.assignment import Assignment
from stream_infer.delivery.source import InputSource
from stream_infer.delivery.state_topic import Marker, StateReader
from stream_infer.errors import BrokerError
from stream_infer.log import get_logger
from stream_infer.quarantine.attempts import Attempts

__all__ = ["Restore", "StartPolicy"]

_LOG = get_logger(__name__)
_ASK_LEAST_S, _ASK_MOST_S = 0.25, 1.0
_ASK_PAUSE_S = 0.5
_SLICE_S = 0.01  # the other partitions go on between two slices
_SILENT_S = 30.0  # a client that was connected to a broker while that was frozen may never hear from it again


class _Table(Protocol):
    def drop(self, partition: int) -> None: ...


class StartPolicy:
    """Where to begin without a committed offset, and what to do when the input no longer has it.

    ``warm_up_events``: so many rows before the start are replayed, to fill windows, where there is no state at all.
    """

    warm_up_events = 0

    def __init__(self, start: Literal["earliest", "latest"], on_gap: Literal["stop", "skip"]) -> None:
        self.start = start
        self.on_gap = on_gap

    def committed(self, partition: int, committed: int | None, bounds: tuple[int, int]) -> int:
        """The offset to publish from. Raises BrokerError when records were lost and the policy is to stop."""
        low, high = bounds
        if committed is None:
            return self.first(partition, bounds)
        if committed > high:
            raise BrokerError(
                f"partition {partition} ends at {high}, before the committed offset {committed}: the topic was made "
                "anew. Cure: reset the group's offsets, or choose another app.id"
            )
        if committed < low and self.on_gap == "stop":
            raise BrokerError(
                f"partition {partition} begins at {low}, after the committed offset {committed}: {low - committed} "
                "events fell out of the topic unread. Cure: lengthen its retention; to go on without them set "
                'input.on_gap = "skip"'
            )
        return max(committed, low)

    def first(self, partition: int, bounds: tuple[int, int]) -> int:  # noqa: ARG002 - a shadow's start asks
        """Where a new group begins."""
        return bounds[0] if self.start == "earliest" else bounds[1]


class Restore:
    """Brings restoring partitions back to where the broker says they are.

    ``restored`` is called with the partition, the seconds it took and the number of rows to replay.
    """

    def __init__(
        self,
        source: InputSource,
        assignment: Assignment,
        attempts: Attempts,
        reader: StateReader,
        table: _Table,
        policy: StartPolicy,
        restored: Callable[[int, float, int], None],
    ) -> None:
        self._source = source
        self._assignment = assignment
        self._attempts = attempts
        self._reader = reader
        self._table = table
        self._policy = policy
        self._restored = restored
        self._loading: dict[int, _Start] = {}
        self._began_at = 0.0
        self._ask_s = _ASK_LEAST_S
        self._ask_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether the next step is to ask the broker again, later."""
        return not self._loading and time.monotonic() < self._ask_at

    def open(self) -> None:
        """Get ready to read state."""
        self._reader.open()

    def forget(self) -> None:
        """The set of restoring partitions changed: begin again with the next step."""
        self._loading = {}

    def step(self) -> None:
        """Do a slice of the work, a fraction of a second at most."""
        wanted = self._assignment.restoring
        if not wanted or self.waits:
            return
        if not self._loading:
            self._begin(wanted)
            return
        markers = self._reader.step(_SLICE_S)
        if markers is not None:
            self._place(markers)
        elif (silent_s := self._reader.silent_s) > _SILENT_S:
            _LOG.warning("new state reader", silent_s=silent_s)
            self._reader.close()
            self._reader.open()
            self.forget()

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _begin(self, partitions: frozenset[int]) -> None:
        """Ask where the partitions are. While a dead worker's offsets are in doubt, the others go on between asking."""
        self._began_at = time.monotonic()
        try:
            committed = self._source.committed(partitions, self._ask_s)
            bounds = {partition: self._source.bounds(partition, self._ask_s) for partition in partitions}
        except KafkaException as failure:
            _LOG.info("waiting for stable offsets", reason=failure.args[0].str())
            self._ask_s = min(2 * self._ask_s, _ASK_MOST_S)
            self._ask_at = time.monotonic() + _ASK_PAUSE_S
            return
        self._ask_s = _ASK_LEAST_S
        self._loading = {
            partition: _Start(
                self._policy.committed(partition, found.offset, bounds[partition]),
                *bounds[partition],
                note=found.note,
                pinned=found.offset is not None,
                warm_up_events=self._policy.warm_up_events,
            )
            for partition, found in committed.items()
        }
        for partition in partitions:
            self._table.drop(partition)
        self._reader.start(partitions)

    def _place(self, markers: dict[int, Marker | None]) -> None:
        loading, self._loading = self._loading, {}
        for partition, start in loading.items():
            marker = self._usable(partition, markers[partition], start)
            read_from = start.read_from(partition, marker)
            self._assignment.place(partition, read_from, start.committed, pinned=start.pinned)
            self._attempts.place(partition, start.committed, start.end, start.note)
            try:
                self._source.resume_at(partition, read_from)
            except KafkaException as failure:  # it is about to be revoked, or the brokers are gone
                _LOG.warning("cannot seek", partition=partition, reason=failure.args[0].str())
                self._assignment.rewind([partition])
                continue
            took_s = time.monotonic() - self._began_at
            self._restored(partition, took_s, start.committed - read_from)
            _LOG.info(
                "restored",
                partition=partition,
                read_from=read_from,
                committed=start.committed,
                took_s=took_s,
            )

    def _usable(self, partition: int, marker: Marker | None, start: _Start) -> Marker | None:
        """The marker, unless the state is of rows that are to be scored again: offsets were reset backwards."""
        if marker is None or marker.position <= start.committed:
            return marker
        _LOG.warning(
            "offsets were reset to before the state: entities begin anew",
            partition=partition,
            committed=start.committed,
            state_position=marker.position,
        )
        self._table.drop(partition)
        return None


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a partition goes on: its committed offset, the first offset that the input still has, and its end.

    ``note`` was committed with the offset. ``pinned``: the offset is committed, not just where a new group starts.
    """

    committed: int
    first_offset: int
    end: int
    note: str
    pinned: bool
    warm_up_events: int

    def read_from(self, partition: int, marker: Marker | None) -> int:
        """Where the replay begins; without a marker there is no state, and only a warm-up to replay."""
        if marker is None:
            return max(self.committed - self.warm_up_events, self.first_offset)
        if marker.replay_from < self.first_offset:
            _LOG.warning(
                "the input no longer holds all rows of the replay; windows may start short",
                partition=partition,
                replay_from=marker.replay_from,
                first_offset=self.first_offset,
            )
        return min(max(marker.replay_from, self.first_offset), self.committed)
