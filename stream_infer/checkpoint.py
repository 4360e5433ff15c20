"""Writes entity state into the delivery: a bounded share of what is due, at every commit.

There is no moment at which all state is written. Each entity's record holds as of the position at which it
was written, and the partition's marker names the oldest change that no record holds yet: the offset a replay starts
at. So a commit stays small however many entities there are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Outbox
from stream_infer.delivery.state_topic import MARKER_KEY, pack_marker
from stream_infer.pace import FlushPace

__all__ = ["Checkpoint"]

_BYTES_PER_COMMIT = 8_388_608
_RATE_WEIGHT = 0.1

Encoded = tuple[NDArray[np.uint8], NDArray[np.int64]]


class _Table(Protocol):
    record_bytes: int

    def flush(
        self, partition: int, position: int, before_offset: int, limit: int
    ) -> tuple[Encoded, Encoded, int]: ...

    def replay_from(self, partition: int, position: int) -> int: ...

    def expire(self, partition: int, now_ms: int, limit: int) -> list[bytes]: ...


class Checkpoint:
    """State of the table -> records of the state topic.

    ``restore_target_s`` bounds the replay of a restore by the rows per second that this worker was seen to work.
    """

    def __init__(self, table: _Table, topic: str, interval_s: float, restore_target_s: float) -> None:
        self._table = table
        self._topic = topic
        self._restore_target_s = restore_target_s
        self._pace = FlushPace(interval_s)
        self._rows_per_s = 0.0
        self._marked: set[int] = set()

    def worked(self, rows: int, took_s: float) -> None:
        """The stages took so many rows in so many seconds."""
        rate = rows / max(took_s, 1e-6)
        self._rows_per_s += _RATE_WEIGHT * (rate - self._rows_per_s) if self._rows_per_s else rate

    def write(self, outbox: Outbox, positions: dict[int, int], *, everything: bool = False) -> None:
        """Write what is due of these partitions; ``everything``: all that fits into one commit."""
        now = time.monotonic()
        budget = max(1, _BYTES_PER_COMMIT // self._table.record_bytes)
        for partition, position in positions.items():
            self._pace.note(now, partition, position)
            before = position if everything else self._due_before(now, partition, position)
            budget -= self._write_partition(outbox, partition, position, before, budget)

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are read again from the state topic, or are no longer ours."""
        for partition in partitions:
            self._pace.forget(partition)
            self._marked.discard(partition)

    def clean(self, positions: dict[int, int]) -> bool:
        """Whether no partition has an unsaved change."""
        return all(self._table.replay_from(p, position) == position for p, position in positions.items())

    def _due_before(self, now: float, partition: int, position: int) -> int:
        replay_rows = int(self._restore_target_s * self._rows_per_s) or position
        return self._pace.due_before(now, partition, position, replay_rows)

    def _write_partition(self, outbox: Outbox, partition: int, position: int, before: int, limit: int) -> int:
        count = 0
        if limit > 0:
            (keys, key_ends), (values, value_ends), count = self._table.flush(
                partition, position, before, limit
            )
            key_start = value_start = 0
            for key_end, value_end in zip(key_ends.tolist(), value_ends.tolist(), strict=True):
                value = values[value_start:value_end].tobytes()
                outbox.write(self._topic, value, keys[key_start:key_end].tobytes(), partition)
                key_start, value_start = key_end, value_end
        if count or partition not in self._marked:
            self._mark(outbox, partition, self._table.replay_from(partition, position))
        return count

    def _mark(self, outbox: Outbox, partition: int, replay_from: int) -> None:
        outbox.write(self._topic, pack_marker(replay_from), MARKER_KEY, partition)
        self._marked.add(partition)
