"""Partitions: where each goes back to when a delivery is dropped, and that nothing is skipped on the way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_infer.assignment import Assignment
from stream_infer.checkpoint import Checkpoint
from stream_infer.delivery.source import Committed
from stream_infer.partitions import Partitions
from stream_infer.quarantine.attempts import Attempts
from stream_infer.records import Batch
from stream_infer.restore import Restore, StartPolicy
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.unit.test_assignment import batch
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

LAYOUT = layout_of(window=3, features=2)
PROFILES = profiles_of(LAYOUT, (b"a",))
NO_STATE = KafkaException(KafkaError(KafkaError._STATE))


class Broker:
    """The input source and the delivery of one member, and the offsets that the broker has."""

    commits_when_revoked = False

    def __init__(self) -> None:
        self.committed_at = dict.fromkeys(range(3), 0)
        self.asked: list[set[int]] = []
        self.resumed: dict[int, int] = {}
        self.paused: set[int] = set()
        self.seek_fails = False
        self.opened_at: float | None = None
        self.abort_known = True

    def pause(self, partitions: Iterable[int]) -> None:
        self.paused.update(partitions)

    def resume_at(self, partition: int, offset: int) -> None:
        if self.seek_fails:
            raise NO_STATE
        self.paused.discard(partition)
        self.resumed[partition] = offset

    def committed(self, partitions: Iterable[int], timeout_s: float) -> dict[int, Committed]:
        self.asked.append(set(partitions))
        return {p: Committed(self.committed_at[p], "") for p in partitions}

    def bounds(self, partition: int, timeout_s: float) -> tuple[int, int]:
        return 0, 1_000

    def abort(self, reason: str) -> bool:
        self.opened_at = None
        return self.abort_known


class NoState:
    """A state topic without a record. A reader that went ``deaf`` hears of no end, until it is opened anew."""

    silent_s = 31.0

    def __init__(self) -> None:
        self._partitions: list[int] = []
        self.deaf = False
        self.calls: list[str] = []

    def open(self) -> None:
        self.deaf = False
        self.calls.append("open")

    def close(self) -> None:
        self.calls.append("close")

    def start(self, partitions: Iterable[int]) -> None:
        self._partitions = list(partitions)

    def step(self, wait_s: float) -> dict[int, None] | None:
        return None if self.deaf else dict.fromkeys(self._partitions)


class Member:
    """A worker's partitions, without the worker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.state = NoState()
        self.table = EntityTable(LAYOUT, PROFILES)
        self.scorer = Scorer(Difference(1), PROFILES, LAYOUT, self.table)
        self.assignment = Assignment()
        attempts = Attempts(3, 1_000, "0a", self.table.replay_from)
        restore = Restore(
            self.broker,
            self.assignment,
            attempts,
            self.state,
            self.table,
            StartPolicy("earliest", "stop"),
            lambda *_: None,
        )
        checkpoint = Checkpoint(self.table, "state", 10.0, 5.0, lambda *_: None, expires=False)
        self.partitions = Partitions(
            self.broker,
            self.broker,
            self.assignment,
            attempts,
            self.table,
            checkpoint,
            restore,
            lambda _: None,
        )
        self.partitions.assigned([0, 1, 2])
        self.partitions.step()
        self.partitions.step()
        self.partitions.settle()
        self.broker.asked.clear()

    def rows(self, partition: int, count: int, start: int | None = None) -> Batch:
        first = self.broker.resumed[partition] if start is None else start
        return batch([partition] * count, list(range(first, first + count)))

    def work(self, polled: Batch) -> list[int]:
        """The offsets that were worked on."""
        admitted = self.partitions.admit(polled)
        if len(admitted):
            self.broker.opened_at = 1.0
            names, features = [b"a"] * len(admitted), np.ones((len(admitted), 2))
            columns = columns_of(names, (1000 * admitted.offset).tolist(), features)
            self.scorer.score(columns, admitted.partition, admitted.offset)
        return admitted.offset.tolist()

    def commit(self) -> None:
        positions = self.partitions.positions()
        self.broker.committed_at.update(positions)
        self.broker.opened_at = None
        self.partitions.confirm(positions)

    def rows_had(self, partition: int) -> int:
        slots = self.table._index.of_partition(partition)
        return int(self.table._index.slots["count"][slots].sum())


@pytest.fixture
def member() -> Member:
    """Partitions 0, 1 and 2; of each ten rows are committed and five more are in the open delivery."""
    member = Member()
    for partition in range(3):
        member.work(member.rows(partition, 10))
    member.commit()
    for partition in range(3):
        member.work(member.rows(partition, 5, 10))
    member.broker.resumed.clear()
    return member


def test_kept_partitions_go_back_in_memory_and_the_broker_is_not_asked(member: Member) -> None:
    member.partitions.revoked([2], lost=False)
    assert member.rows_had(0) == 10
    assert member.assignment.restoring == {0, 1}
    assert (
        member.work(member.rows(0, 5, 15)) == []
    )  # polled together with the revoke: rows 10 to 14 come first

    member.partitions.step()

    assert member.broker.resumed == {0: 10, 1: 10}
    assert member.broker.asked == []
    assert member.work(member.rows(0, 5)) == [10, 11, 12, 13, 14]
    assert member.partitions.positions() == {0: 15}
    assert member.table.entity_count == 2


@pytest.mark.parametrize(("known", "lost"), [(False, False), (True, True), (False, True)])
def test_they_restore_when_it_is_not_known_what_counts(member: Member, known: bool, lost: bool) -> None:
    member.broker.abort_known = known
    member.broker.committed_at[1] = 15  # it did count
    member.partitions.revoked([2], lost=lost)
    member.partitions.step()
    member.partitions.step()

    assert member.broker.asked == [{0, 1}]
    assert member.broker.resumed == {0: 10, 1: 15}


def test_doubt_that_comes_later_overrules_what_was_known(member: Member) -> None:
    member.partitions.revoked([2], lost=False)
    member.partitions.rewind("fatal", known=False)
    member.partitions.step()

    assert member.broker.asked == [{0, 1}]


def test_a_partition_that_goes_before_it_was_put_back_is_gone(member: Member) -> None:
    member.partitions.revoked([2], lost=False)
    member.partitions.revoked([1], lost=False)
    member.partitions.assigned([1])
    member.partitions.step()

    assert member.broker.resumed == {0: 10}
    member.partitions.step()
    assert member.broker.asked == [{1}]


def test_a_seek_that_fails_ends_in_a_restore(member: Member) -> None:
    member.broker.seek_fails = True
    member.partitions.revoked([2], lost=False)
    member.partitions.step()
    assert member.broker.asked == [{0, 1}]
    member.broker.seek_fails = False
    member.partitions.step()

    assert member.broker.resumed == {0: 10, 1: 10}


def test_a_reader_of_the_state_that_hears_nothing_is_replaced(member: Member) -> None:
    member.state.deaf = True
    member.broker.resumed.clear()
    member.partitions.revoked([0, 1, 2], lost=True)
    member.partitions.assigned([0, 1, 2])
    for _ in range(2):
        member.partitions.step()
    assert member.state.calls == ["close", "open"]
    assert member.broker.resumed == {}
    for _ in range(2):
        member.partitions.step()

    assert member.broker.asked == [{0, 1, 2}] * 2
    assert member.broker.resumed == {0: 10, 1: 10, 2: 10}


def test_a_delivery_larger_than_the_log_ends_in_a_restore(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member.table, "undo", lambda: False)
    member.partitions.revoked([2], lost=False)
    member.partitions.step()

    assert member.broker.asked == [{0, 1}]


def test_a_parked_partition_whose_seek_fails_stays_parked_and_its_offset_is_committed(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled = member.partitions.admit(member.rows(0, 5, 15))
    kept = member.partitions.park(polled, np.array([2]))
    assert kept.offset.tolist() == [15, 16]
    member.broker.seek_fails = True
    monkeypatch.setattr("stream_infer.partitions.time.monotonic", lambda: 1e12)
    member.partitions.step()

    assert member.partitions.positions()[0] == 17
    member.broker.seek_fails = False
    monkeypatch.setattr("stream_infer.partitions.time.monotonic", lambda: 2e12)
    member.partitions.step()
    assert member.broker.resumed == {0: 17}
