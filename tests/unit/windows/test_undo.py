"""After an undo a table is what it was at the last commit, to the last bit, whatever the delivery did to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.records import Text
from stream_infer.scorer import Scorer
from stream_infer.windows import undo
from stream_infer.windows.layout import NONE, SLOT
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

NAMES = (b"known-a", b"known-b")
ENTITIES = [*NAMES, b"new-a", b"new-b", b"new-c"]
PARTITIONS = 2
TTL_S = 60.0
LAYOUT = layout_of(window=4, features=3, terms=2)
PROFILES = profiles_of(LAYOUT, NAMES)
PLACES = {"key_start", "next"}
"""Fields of a slot that say where things lie, not what they are."""


class Life:
    """A table with its own Scorer; rows have ascending offsets and times per partition."""

    def __init__(self) -> None:
        self.table = EntityTable(LAYOUT, PROFILES, TTL_S)
        self.scorer = Scorer(Difference(LAYOUT.terms), PROFILES, LAYOUT, self.table)
        self.table.commit()
        self.position = [0] * PARTITIONS
        self.now_ms = [0] * PARTITIONS

    def rows(self, partition: int, rows: list[tuple[bytes, int, list[float]]]) -> list[Any]:
        names, features = [row[0] for row in rows], np.array([row[2] for row in rows])
        time_ms = self.now_ms[partition] + 1000 * np.cumsum([row[1] for row in rows])
        offset = self.position[partition] + np.arange(len(rows), dtype=np.int64)
        where = np.full(len(rows), partition, np.int32)
        kept, scores, _ = self.scorer.score(columns_of(names, time_ms.tolist(), features), where, offset)
        self.position[partition] += len(rows)
        self.now_ms[partition] = int(time_ms[-1])
        return [kept.tolist(), *(np.asarray(part).tolist() for part in vars_of(scores))]

    def flush(self, partition: int, lag: int, limit: int) -> list[tuple[bytes, bytes]]:
        position = self.position[partition]
        return sorted(self.table.flush(partition, position, position - lag, limit).pairs())

    def expire(self, partition: int, later_s: int) -> list[bytes]:
        return sorted(self.table.expire(partition, self.now_ms[partition] + 1000 * later_s, 1000))

    def drop(self, partition: int) -> None:
        self.table.drop(partition)

    def load(self, partition: int, later_s: int) -> None:
        """The partition is lost, and comes back as another process wrote it."""
        other = EntityTable(LAYOUT, PROFILES, TTL_S)
        slots = other.locate(np.full(2, partition, np.int32), Text.of([b"known-a", b"new-z"]))
        where, offset = np.full(2, partition, np.int32), np.arange(2, dtype=np.int64)
        pushed = other.push(slots, np.ones((2, 3)), np.zeros(2, np.int64) + later_s, where, offset)
        other.judge(slots, pushed.first, pushed.windows[:, -2:])
        records = list(other.flush(partition, 2, 2, 2).pairs())
        self.table.drop(partition)
        self.table.load(partition, [key for key, _ in records], [value for _, value in records])

    def state(self) -> dict[str, Any]:
        """Everything that a table holds, without where it lies."""
        index, found = self.table._index, {}
        for partition in range(PARTITIONS):
            numbers = index.of_partition(partition)
            keys = index.keys(numbers)
            for i, number in enumerate(numbers.tolist()):
                slot, row = index.slots[number], self.table._rows[number].copy()
                if slot["profile"] != PROFILES.fleet:
                    row[LAYOUT.running_at :] = 0  # not part of a known entity's state
                assert self.table.find(np.array([partition], np.int32), Text.of([keys[i]])) == [number]
                told = {name: slot[name].item() for name in SLOT.names or () if name not in PLACES}
                found[partition, keys[i]] = told, row.tobytes()
        return {"entities": found, "queues": [self._queue(p) for p in range(PARTITIONS)]}

    def _queue(self, partition: int) -> list[bytes]:
        index, queues = self.table._index, self.table._queues
        head, tail = queues[partition].tolist() if partition < len(queues) else (NONE, NONE)
        keys, last = [], NONE
        while head != NONE:
            keys.append(index.keys(np.array([head]))[0])
            last, head = head, index.slots[head]["next"].item()
        assert last == tail
        return keys


def vars_of(scores: Any) -> list[NDArray[Any]]:
    return [getattr(scores, name) for name in type(scores).__dataclass_fields__]


partitions = st.integers(0, PARTITIONS - 1)
values = st.one_of(st.floats(-20, 20, width=32), st.just(math.nan))
row = st.tuples(st.sampled_from(ENTITIES), st.integers(0, 90), st.lists(values, min_size=3, max_size=3))
work = st.tuples(st.just("rows"), partitions, st.lists(row, min_size=1, max_size=6))
flush = st.tuples(st.just("flush"), partitions, st.integers(0, 6), st.integers(0, 4))
expire = st.tuples(st.just("expire"), partitions, st.integers(0, 120))
lives = st.lists(
    st.tuples(
        st.lists(st.one_of(work, work, flush), max_size=5),
        st.lists(st.one_of(flush, expire), max_size=4),
        st.sampled_from(["commit", "undo"]),
    ),
    min_size=1,
    max_size=12,
)


def deliver(life: Life, work: list[tuple[Any, ...]], end: str) -> list[Any]:
    was = life.position.copy(), life.now_ms.copy()
    told = [getattr(life, name)(*arguments) for name, *arguments in work]
    assert getattr(life.table, end)() in {True, None}
    if end == "undo":
        life.position, life.now_ms = was
    return told


@settings(deadline=None, max_examples=80)
@given(lives)
def test_an_undone_delivery_might_as_well_not_have_been(lived) -> None:
    disturbed, undisturbed = Life(), Life()
    for work, last, end in lived:
        told = deliver(disturbed, [*work, *last], end)
        if end == "commit":
            assert repr(told) == repr(deliver(undisturbed, [*work, *last], end))  # NaN is not NaN
        assert disturbed.state() == undisturbed.state()


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.one_of(work, flush), max_size=4),
    st.lists(st.one_of(work, flush), max_size=4),
    st.sampled_from([("drop",), ("load", 5)]),
    st.lists(work, max_size=3),
)
def test_what_is_lost_or_loaded_in_mid_delivery_is_no_part_of_an_undo(before, first, lost, second) -> None:
    """Partition 1 is restored while partition 0 goes on."""
    name, *arguments = lost
    disturbed, undisturbed = Life(), Life()
    for life in (disturbed, undisturbed):
        deliver(life, before, "commit")
    deliver(disturbed, [*first, (name, 1, *arguments), *(one for one in second if one[1] == 0)], "undo")
    deliver(undisturbed, [(name, 1, *arguments)], "commit")

    assert disturbed.state() == undisturbed.state()


def test_an_undo_lets_the_keys_go_that_came_with_the_delivery() -> None:
    life = Life()
    for start in range(20):
        names = [b"%0100d" % (1000 * start + i) for i in range(1000)]
        deliver(life, [("rows", 0, [(name, 1, [0.0, 0.0, 0.0]) for name in names])], "undo")

    assert life.table.entity_count == 0
    assert life.table._index.used == 1000
    assert len(life.table._index.store.arena) < 1_000_000


def test_keys_that_were_packed_in_between_stay_with_their_entities() -> None:
    life = Life()
    row = [1.0, 2.0, 3.0]
    gone = [(b"%0100d" % i, 1, row) for i in range(2000)]
    deliver(life, [("rows", 1, gone), ("rows", 0, [(b"known-a", 1, row), (b"new-a", 1, row)])], "commit")
    before = {key: told for key, told in life.state()["entities"].items() if key[0] == 0}
    deliver(life, [("rows", 0, [(b"known-a", 1, row), (b"new-b", 1, row)]), ("drop", 1)], "undo")

    assert life.state()["entities"] == before


def test_a_log_without_room_says_so_and_leaves_the_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "_LARGEST_BYTES", 0)
    life = Life()
    many = [(b"%d" % i, 1, [0.0, 0.0, 0.0]) for i in range(1025)]
    life.rows(0, many[:1024])
    assert life.table.undo()
    life.rows(0, many)

    assert not life.table.undo()
    assert life.table.entity_count == 1025
    life.table.commit()
    life.rows(0, many[:10])
    assert life.table.undo()
    assert life.table.entity_count == 1025


def test_nothing_can_be_undone_before_the_first_commit() -> None:
    table = EntityTable(LAYOUT, PROFILES)
    table.locate(np.zeros(1, np.int32), Text.of([b"a"]))

    assert not table.undo()
    assert table.entity_count == 1


def test_after_an_expire_a_delivery_takes_no_rows() -> None:
    life = Life()
    deliver(life, [("rows", 0, [(b"new-a", 1, [0.0, 0.0, 0.0])]), ("flush", 0, 0, 9)], "commit")
    life.expire(0, 10_000)

    with pytest.raises(ValueError, match="commit or undo it first"):
        life.rows(0, [(b"new-a", 1, [0.0, 0.0, 0.0])])
    assert life.table.undo()
    life.rows(0, [(b"new-a", 1, [0.0, 0.0, 0.0])])
