"""The checkpoint writes what is due, and tells how much that was."""

from __future__ import annotations

import time

import numpy as np

from stream_infer.checkpoint import Checkpoint
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.state_topic import MARKER_KEY
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

LAYOUT = layout_of(window=3, features=2)
PROFILES = profiles_of(LAYOUT, (b"a",))


class Outbox:
    """Keeps what is written; it is a producer's queue that is never full."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, int]] = []

    def write(self, topic: str, value: bytes, key: bytes, partition: int) -> None:
        self.records.append((key, value, partition))

    def write_all(self, topic: str, outgoing: Outgoing) -> list[int]:
        keys, values = outgoing.keys_of(), list(outgoing.values)
        self.records += zip(keys, values, outgoing.partition.tolist(), strict=True)
        return []


def test_states_and_tombstones_are_written_and_told() -> None:
    now_ms = int(time.time() * 1000)
    table = EntityTable(LAYOUT, PROFILES, 60)
    told: list[tuple[int, int]] = []
    checkpoint = Checkpoint(
        table, "state", 3600, 3600, lambda states, tombstones: told.append((states, tombstones)), expires=True
    )

    def work(names: list[bytes], start: int, time_ms: int) -> None:
        offset, partition = np.arange(start, start + len(names)), np.zeros(len(names), np.int32)
        columns = columns_of(names, [time_ms] * len(names), np.ones((len(names), 2)))
        Scorer(Difference(1), PROFILES, LAYOUT, table).score(columns, partition, offset)
        checkpoint.worked(partition, columns.time_ms, {"poll": 0.0, "score": 0.1})

    outbox = Outbox()
    work([b"a", b"new", b"idle"], 0, now_ms - 100_000)
    checkpoint.write(outbox, {0: 3})  # nothing is due yet: the marker alone
    checkpoint.write(outbox, {0: 3}, everything=True)
    table.commit()
    work([b"a", b"new"], 3, now_ms)
    checkpoint.write(outbox, {0: 5}, everything=True)

    assert told == [(0, 0), (3, 0), (2, 1)]
    assert [(key, value is None) for key, value, _ in outbox.records] == [
        (MARKER_KEY, False),
        *((b"e" + name, False) for name in (b"a", b"new", b"idle")),
        (MARKER_KEY, False),
        *((b"e" + name, False) for name in (b"a", b"new")),
        (b"eidle", True),
        (MARKER_KEY, False),
    ]
