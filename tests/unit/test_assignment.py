"""Assignment: every offset is admitted once and in order, whatever is assigned, revoked, rewound or stale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_infer.assignment import Assignment
from stream_infer.records import Batch, Blobs


def batch(partitions: list[int], offsets: list[int]) -> Batch:
    count = len(offsets)
    return Batch(
        np.zeros(0, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, np.bool_),
        np.array(partitions, np.int32),
        np.array(offsets, np.int64),
        np.full(count, -1, np.int64),
        Blobs.of([None] * count),
    )


def test_nothing_is_admitted_before_a_partition_is_placed() -> None:
    assignment = Assignment()
    assignment.assign([3])

    assert not assignment.admit(batch([3, 0], [0, 0])).any()

    assignment.place(3, 5, 5)

    assert assignment.admit(batch([3, 3, 3], [4, 5, 6])).tolist() == [False, True, True]
    assert assignment.positions() == {3: 7}


def test_a_replay_is_admitted_but_not_published_and_not_committed() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 10, 13)
    rows = batch([0] * 4, [10, 11, 12, 13])

    assert assignment.admit(batch([0, 0], [10, 11])).all()
    assert assignment.replaying == {0}
    assert assignment.positions() == {}
    assert assignment.admit(batch([0, 0], [12, 13])).all()
    assert assignment.published(rows.partition, rows.offset).tolist() == [False, False, False, True]
    assert assignment.positions() == {0: 14}
    assert assignment.replaying == frozenset()


def test_gaps_of_compaction_and_transaction_markers_are_no_stale_rows() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 0, 0)

    assert assignment.admit(batch([0, 0, 0], [0, 7, 20])).all()
    assert assignment.positions() == {0: 21}


def test_the_start_of_a_new_group_is_committed_before_anything_is_read() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 7, 7, pinned=False)

    assert assignment.unpinned
    assert assignment.positions() == {0: 7}
    assignment.confirm({0: 7})
    assert not assignment.unpinned
    assert assignment.positions() == {}


def test_a_position_is_never_confirmed_backwards() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 4, 4)
    assignment.admit(batch([0], [4]))
    assignment.confirm({0: 5})

    with pytest.raises(ValueError, match="committed 5, now 4"):
        assignment.confirm({0: 4})


def test_a_read_that_would_skip_events_is_refused() -> None:
    assignment = Assignment()
    assignment.assign([0])

    with pytest.raises(ValueError, match="would skip"):
        assignment.place(0, 11, 10)


def test_a_held_row_is_admitted_again() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 0, 0)
    assignment.admit(batch([0, 0], [0, 1]))
    assignment.hold(0, 1)

    assert assignment.positions() == {0: 1}
    assert assignment.admit(batch([0], [1])).all()


def test_an_undone_replay_begins_where_the_last_delivery_ended() -> None:
    assignment = Assignment()
    assignment.assign([0])
    assignment.place(0, 4, 10)
    assignment.admit(batch([0, 0], [4, 5]))
    assignment.settle()
    assignment.admit(batch([0, 0], [6, 7]))
    assignment.rewind([0])

    assert not assignment.admit(batch([0], [8])).any()
    assert assignment.put_back(0) == 6
    assert assignment.admit(batch([0, 0], [5, 6])).tolist() == [False, True]
    assert assignment.replaying == {0}


@pytest.mark.parametrize("again", [True, False])
def test_only_what_was_rewound_is_put_back(again: bool) -> None:
    assignment = Assignment()
    assignment.assign([0])
    if again:
        assignment.place(0, 4, 4)
        assignment.revoke([0])
        assignment.assign([0])

    with pytest.raises(ValueError, match="was not rewound"):
        assignment.put_back(0)


class Life(RuleBasedStateMachine):
    """A broker's log per partition, and an assignment that is rewound, revoked and fed stale rows at will.

    ``counted`` says how often each offset was admitted as new since its last commit: conservation is that every
    committed offset was admitted exactly once between two commits that stand.
    """

    def __init__(self) -> None:
        super().__init__()
        self.assignment = Assignment()
        self.committed = dict.fromkeys(range(3), 0)
        self.pending: dict[int, list[int]] = {p: [] for p in range(3)}
        self.delivered: dict[int, list[int]] = {p: [] for p in range(3)}
        self.undone: set[int] = set()

    @rule(partition=st.integers(0, 2))
    def assign(self, partition: int) -> None:
        if partition not in self.assignment.owned:
            self.assignment.assign([partition])

    @rule(partition=st.integers(0, 2))
    def revoke(self, partition: int) -> None:
        self.assignment.revoke([partition])
        self.pending[partition] = []
        self.undone.discard(partition)

    @rule(known=st.booleans())
    def rewind(self, known: bool) -> None:
        running = self.assignment.running
        self.assignment.rewind(running)
        self.pending = {p: [] for p in range(3)}
        self.undone = self.undone | running if known else set()

    @precondition(lambda self: self.undone)
    @rule()
    def put_back(self) -> None:
        for partition in self.undone:
            assert self.assignment.put_back(partition) <= self.committed[partition]
        self.undone = set()

    @precondition(lambda self: self.assignment.restoring - self.undone)
    @rule(back=st.integers(0, 5))
    def place(self, back: int) -> None:
        for partition in self.assignment.restoring - self.undone:
            committed = self.committed[partition]
            self.assignment.place(partition, max(0, committed - back), committed)

    @rule(starts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(1, 6)), max_size=4))
    def poll(self, starts: list[tuple[int, int, int]]) -> None:
        partitions, offsets = [], []
        for partition, stale, count in starts:
            if partition not in self.assignment.running:
                first = self.committed[partition]  # a fetch from before a revoke or a rewind
            else:
                first = max(0, self.assignment.next_offset(partition) - stale)
            partitions += [partition] * count
            offsets += range(first, first + count)
        rows = batch(partitions, offsets)
        admitted = self.assignment.admit(rows)
        fresh = admitted & self.assignment.published(rows.partition, rows.offset)
        for partition, offset in zip(
            rows.partition[fresh].tolist(), rows.offset[fresh].tolist(), strict=True
        ):
            self.pending[partition].append(offset)

    @rule()
    def commit(self) -> None:
        positions = self.assignment.positions()
        self.assignment.confirm(positions)
        for partition, offset in positions.items():
            self.delivered[partition] += self.pending[partition]
            self.pending[partition] = []
            self.committed[partition] = offset

    @invariant()
    def every_committed_offset_was_delivered_once_and_in_order(self) -> None:
        for partition, offset in self.committed.items():
            assert self.delivered[partition] == list(range(offset))

    @invariant()
    def a_running_partition_is_owned(self) -> None:
        assert self.assignment.running | self.assignment.restoring == self.assignment.owned


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=60))
def test_admitted_offsets_rise_strictly_in_each_partition(rows: list[tuple[int, int]]) -> None:
    assignment = Assignment()
    assignment.assign(range(4))
    for partition in range(4):
        assignment.place(partition, 0, 0)
    taken = batch([p for p, _ in rows], [o for _, o in rows])
    admitted = assignment.admit(taken)

    for partition in range(4):
        offsets = taken.offset[admitted & (taken.partition == partition)]
        assert (np.diff(offsets) > 0).all()
