"""Attempts: how deaths are counted beside the committed offsets, and when a partition is suspect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.quarantine.attempts import Attempts
from stream_infer.records import Batch, Blobs

REACH = 1000


def batch(partition: int, *offsets: int) -> Batch:
    rows = Blobs.of([b"x"] * len(offsets))
    return Batch(
        rows.data,
        rows.ends,
        rows.null,
        np.full(len(offsets), partition, np.int32),
        np.array(offsets, np.int64),
        np.full(len(offsets), -1, np.int64),
        Blobs.of([None] * len(offsets)),
    )


class Worker:
    """One process as the broker sees it: it restores partition 0, and commits through its Attempts."""

    def __init__(
        self, name: str, broker: Broker, deaths_max: int = 2, replay_from: int | None = None
    ) -> None:
        self.broker = broker
        self.attempts = Attempts(
            deaths_max, REACH, name, lambda _, position: position if replay_from is None else replay_from
        )
        self.restore()

    def restore(self) -> None:
        self.attempts.place(0, self.broker.offset, self.broker.end, self.broker.note)

    def begin(self) -> bool:
        """The first batch after a restore: whether it had to be announced."""
        if not self.attempts.announce(batch(0, self.broker.offset)):
            return False
        self.commit(self.attempts.starts()[0])
        return True

    def commit(self, offset: int) -> None:
        self.broker.offset, self.broker.note = offset, self.attempts.note(0, offset)
        self.attempts.confirm({0: offset})

    def leave(self) -> None:
        for offset in self.attempts.withdrawn([0]).values():
            self.commit(offset)

    @property
    def suspect(self) -> bool:
        return self.attempts.suspects == {0}


class Broker:
    def __init__(self) -> None:
        self.offset, self.end, self.note = 100, 500, ""


def test_a_commit_past_the_place_clears_the_note() -> None:
    broker = Broker()
    worker = Worker("aa", broker)

    assert worker.begin()
    assert broker.note == "stream-infer deaths=0 by=aa"
    assert not worker.begin()

    worker.commit(101)

    assert broker.note == ""
    assert worker.attempts.quiet


def test_a_worker_that_never_begins_leaves_no_trace() -> None:
    broker = Broker()
    for name in ("aa", "bb", "cc", "dd"):
        Worker(name, broker)

    assert not Worker("ee", broker).suspect


def test_deaths_in_a_row_make_the_rows_that_were_there_suspect() -> None:
    broker = Broker()
    for name in ("aa", "bb"):
        worker = Worker(name, broker)
        assert not worker.suspect
        worker.begin()
    worker = Worker("cc", broker)

    assert worker.suspect
    assert worker.attempts.suspect(batch(0, 99, 100, 499, 500)).tolist() == [True, True, True, False]
    assert not worker.attempts.suspect(batch(1, 100)).any()


def test_what_lies_beyond_the_reach_of_a_delivery_is_not_suspect() -> None:
    broker = Broker()
    broker.end = 10_000
    for name in ("aa", "bb"):
        Worker(name, broker).begin()

    assert Worker("cc", broker).attempts.suspect(batch(0, 1099, 1100)).tolist() == [True, False]


def test_restoring_again_in_the_same_process_is_no_death() -> None:
    broker = Broker()
    worker = Worker("aa", broker)
    worker.begin()
    for _ in range(5):
        worker.attempts.forget([0])
        worker.restore()
        assert not worker.begin()  # it is announced already

    assert not worker.suspect


def test_leaving_in_peace_is_no_death_and_forgives_none() -> None:
    broker = Broker()
    Worker("aa", broker).begin()
    for name in ("bb", "cc", "dd"):
        worker = Worker(name, broker)
        worker.begin()
        worker.leave()
        assert broker.note == "stream-infer deaths=1 by="

    assert not Worker("ee", broker).suspect


def test_a_suspect_partition_stays_so_for_the_next_worker_until_it_is_past_the_range() -> None:
    broker = Broker()
    for name in ("aa", "bb"):
        Worker(name, broker).begin()
    worker = Worker("cc", broker)
    worker.begin()
    worker.commit(300)
    assert worker.suspect
    heir = Worker("dd", broker)
    assert heir.suspect
    heir.begin()
    heir.commit(500)

    assert heir.attempts.quiet
    assert broker.note == ""


def test_a_killer_that_a_replay_would_read_again_keeps_the_partition_suspect() -> None:
    broker = Broker()
    for name in ("aa", "bb"):
        Worker(name, broker).begin()
    worker = Worker("cc", broker, replay_from=120)
    worker.begin()
    worker.attempts.found(0, 130)
    worker.commit(500)

    assert worker.attempts.found_any
    assert broker.note == "stream-infer deaths=2 by=cc"

    flushed = Worker("dd", broker, replay_from=None)
    flushed.begin()
    flushed.attempts.found(0, 130)
    flushed.commit(501)

    assert broker.note == ""


def test_each_further_death_halves_what_is_tried_together() -> None:
    broker = Broker()
    sizes = []
    for number in range(14):
        worker = Worker(f"{number:02x}", broker)
        if worker.suspect:
            sizes.append(worker.attempts.part_events(0))
        worker.begin()

    assert sizes[:4] == [256, 128, 64, 32]
    assert sizes[-1] == 1


@given(st.text(max_size=200))
def test_a_foreign_note_is_no_note(text: str) -> None:
    attempts = Attempts(1, REACH, "aa", lambda _, position: position)
    attempts.place(0, 5, 9, text)

    assert attempts.suspects == frozenset()


@pytest.mark.parametrize("deaths_max", [1, 3])
def test_so_many_deaths_as_are_set(deaths_max: int) -> None:
    broker = Broker()
    died = 0
    while not Worker(f"{died:02x}", broker, deaths_max).suspect:
        Worker(f"{died:02x}", broker, deaths_max).begin()
        died += 1

    assert died == deaths_max


@pytest.mark.parametrize("deaths", [2, 5, 40])
def test_parts_grow_again_with_each_that_is_committed(deaths: int) -> None:
    broker = Broker()
    broker.end = 10 * REACH
    for number in range(deaths):
        Worker(f"{number:x}", broker).begin()
    worker = Worker("abc", broker)
    worker.begin()
    assert worker.suspect
    commits, first = 0, broker.offset
    while worker.suspect:
        worker.commit(broker.offset + worker.attempts.part_events(0))
        commits += 1
    assert broker.offset >= first + REACH
    assert commits <= 8 + REACH / 256 + 1, "a commit for each event is a partition that crawls"
