"""Writes entity state into the delivery: a bounded share of what is due, at every commit.

There is no moment at which all state is written. Each entity's record holds as of the position at which it
was written, and the partition's marker names the oldest change that no record holds yet: the offset a replay
starts at. So a commit stays small however many entities there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Outbox
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.state_topic import MARKER_KEY, Marker
from stream_infer.errors import DeliveryError
from stream_infer.pace import FlushPace
from stream_infer.records import Blobs

__all__ = ["Checkpoint"]

_BYTES_PER_COMMIT = 8_388_608
_SLOTS_SWEPT_PER_COMMIT = 1_000
_RATE_WEIGHT = 0.1


_Encoded = tuple[NDArray[np.uint8], NDArray[np.int64]]


class _Records(Protocol):
    @property
    def keys(self) -> _Encoded: ...

    @property
    def values(self) -> _Encoded: ...

    @property
    def record_count(self) -> int: ...


class _Table(Protocol):
    record_bytes: int

    def flush(self, partition: int, position: int, before_offset: int, limit: int) -> _Records: ...

    def replay_from(self, partition: int, position: int) -> int: ...

    def expire(self, partition: int, now_ms: int, limit: int) -> list[bytes]: ...


class Checkpoint:
    """State of the table -> records of the state topic.

    ``restore_target_s`` bounds the replay when all partitions of this worker are restored at once, by the rows per
    second that the stages were seen to take.
    ``written`` is told how many states and how many tombstones each commit takes.
    ``expires``: the table forgets idle entities, which needs to know each partition's event time.
    """

    def __init__(
        self,
        table: _Table,
        topic: str,
        interval_s: float,
        restore_target_s: float,
        written: Callable[[int, int], None],
        *,
        expires: bool,
    ) -> None:
        self._table = table
        self._topic = topic
        self._restore_target_s = restore_target_s
        self._written = written
        self._expires = expires
        self._pace = FlushPace(interval_s)
        self._rows_per_s = 0.0
        self._marked: set[int] = set()
        self._newest_ms: dict[int, int] = {}

    def worked(
        self, partition: NDArray[np.int32], time_ms: NDArray[np.int64], took_s: Mapping[str, float]
    ) -> None:
        """These rows, with these event times, went through the stages, each of which took so many seconds."""
        rate = len(partition) / max(1e-6, sum(took_s.values()) - took_s["poll"])
        self._rows_per_s += _RATE_WEIGHT * (rate - self._rows_per_s) if self._rows_per_s else rate
        for number in np.unique(partition).tolist() if self._expires else ():
            newest = int(time_ms[partition == number].max())
            self._newest_ms[number] = max(newest, self._newest_ms.get(number, newest))

    def write(self, outbox: Outbox, positions: dict[int, int], *, everything: bool = False) -> None:
        """Write what is due of these partitions; ``everything``: all that fits into one commit."""
        now = time.monotonic()
        budget = max(1, _BYTES_PER_COMMIT // self._table.record_bytes)
        states = tombstones = 0
        replay_rows = int(self._restore_target_s * self._rows_per_s) // max(1, len(positions))
        for partition, position in positions.items():
            self._pace.note(now, partition, position)
            due = self._pace.due_before(now, partition, position, replay_rows or position)
            before = position if everything else due
            flushed = self._flush(outbox, partition, position, before, budget - states)
            expired = self._expire(outbox, partition)
            states, tombstones = states + flushed, tombstones + expired
            if flushed or expired or partition not in self._marked:
                marker = Marker(self._table.replay_from(partition, position), position)
                outbox.write(self._topic, marker.pack(), MARKER_KEY, partition)
                self._marked.add(partition)
        self._written(states, tombstones)

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are read again from the state topic, or are no longer ours."""
        for partition in partitions:
            self._pace.forget(partition)
            self._marked.discard(partition)
            self._newest_ms.pop(partition, None)

    def undone(self, partitions: Iterable[int]) -> None:
        """What was last written of these partitions, and the rows since, do not count; the rows come again."""
        for partition in partitions:
            self._marked.discard(partition)
            self._newest_ms.pop(partition, None)

    def clean(self, partition: int, position: int) -> bool:
        """Whether the state topic has all changes of a partition that stands at this position."""
        return self._table.replay_from(partition, position) == position

    def _flush(self, outbox: Outbox, partition: int, position: int, before: int, limit: int) -> int:
        if limit <= 0:
            return 0
        found = self._table.flush(partition, position, before, limit)
        if found.record_count:
            none = np.zeros(found.record_count, np.bool_)
            self._write(outbox, partition, Blobs(*found.keys, none), Blobs(*found.values, none))
        return found.record_count

    def _expire(self, outbox: Outbox, partition: int) -> int:
        newest_ms = self._newest_ms.get(partition)
        if newest_ms is None:
            return 0
        # One event from the far future must not make all others idle.
        now_ms = min(newest_ms, time.time_ns() // 1_000_000)
        tombstones = self._table.expire(partition, now_ms, _SLOTS_SWEPT_PER_COMMIT)
        if tombstones:
            self._write(outbox, partition, Blobs.of(tombstones), Blobs.of([None] * len(tombstones)))
        return len(tombstones)

    def _write(self, outbox: Outbox, partition: int, keys: Blobs, values: Blobs) -> None:
        count = len(keys)
        outgoing = Outgoing(values, np.full(count, partition, np.int32), np.arange(count), keys)
        if outbox.write_all(self._topic, outgoing):
            raise DeliveryError(
                f"an entity's state is too large for the producer to send to {self._topic}. "
                'Cure: raise "message.max.bytes" in [kafka.producer]'
            )
