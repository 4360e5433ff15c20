"""Which events are wanted, and how far the input is read for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.delivery.source import Taken
from stream_infer.records import Batch, Blobs, Text
from stream_infer.rescore.offsets import Offsets
from stream_infer.rescore.source import RescoreStart, UpTo

PLACES = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=60)


def offsets(places: set[tuple[int, int]]) -> Offsets:
    return Offsets(
        {p: np.array([offset for number, offset in places if number == p], np.int64) for p in range(4)}
    )


def places(found: Offsets) -> set[tuple[int, int]]:
    return {(p, offset) for p in range(4) for offset in found.of(p).tolist()}


@given(PLACES, PLACES)
def test_offsets_are_a_set(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> None:
    found = offsets(one)
    assert places(found) == one
    assert len(found) == len(one)
    assert places(found - offsets(other)) == one - other
    partition, offset = (np.array([place[i] for place in sorted(other)], np.int64) for i in (0, 1))
    held = found.holds(partition.astype(np.int32), offset)
    assert held.tolist() == [place in one for place in sorted(other)]
    for p, first in found.first.items():
        own = [offset for number, offset in one if number == p]
        assert (first, found.stop[p]) == (min(own), max(own) + 1)
    assert set(found.first) == set(found.stop) == {number for number, _ in one}


@given(st.lists(st.binary(max_size=3)), st.binary(max_size=3))
def test_rows_that_are_a_value(values: list[bytes], value: bytes) -> None:
    assert Text.of(values).equal(value).tolist() == [one == value for one in values]


class Intake:
    """Gives what it is told to, once."""

    def __init__(self, batch: Batch) -> None:
        self._batch: Batch | None = batch

    def take(self, wait_s: float) -> Taken:
        batch, self._batch = self._batch, None
        return Taken(batch, "arrived")

    def drop(self, partitions: list[int]) -> None: ...


class Client:
    """Knows which partitions are paused."""

    def __init__(self) -> None:
        self.paused: set[int] = set()

    def pause(self, partitions: list[Any]) -> None:
        self.paused |= {one.partition for one in partitions}

    def resume(self, partitions: list[Any]) -> None:
        self.paused -= {one.partition for one in partitions}

    def seek(self, partition: Any) -> None: ...


def batch(rows: list[tuple[int, int]]) -> Batch:
    partition, offset = np.array(rows, np.int64).reshape(-1, 2).T
    empty = Blobs.of([b"x"] * len(rows))
    return Batch(empty.data, empty.ends, empty.null, partition.astype(np.int32), offset, offset, empty)


def test_partitions_are_read_up_to_their_end_and_no_further() -> None:
    rows = [(0, 7), (0, 8), (1, 0), (2, 4), (0, 9), (2, 5), (0, 11)]
    source = UpTo({}, "events", Intake(batch(rows)), {0: 9, 2: 20})  # type: ignore[arg-type]
    source._consumer = client = Client()
    found = source.poll(0)
    assert found is not None
    assert list(zip(found.partition.tolist(), found.offset.tolist(), strict=True)) == [
        (0, 7),
        (0, 8),
        (2, 4),
        (2, 5),
    ]
    assert client.paused == {0, 1}
    source.resume_at(0, 9)
    source.resume_at(1, 0)
    assert client.paused == {0, 1}
    source.resume_at(0, 8)
    assert client.paused == {1}


def test_a_batch_behind_the_end_is_none() -> None:
    source = UpTo({}, "events", Intake(batch([(0, 9), (1, 3)])), {0: 9})  # type: ignore[arg-type]
    source._consumer = Client()
    assert source.poll(0) is None


def test_a_job_begins_at_the_first_wanted_event_that_is_there() -> None:
    start = RescoreStart(offsets({(0, 5), (0, 9), (1, 30)}), 10)
    assert start.first(0, (0, 50)) == 5
    assert start.first(0, (7, 50)) == 7
    assert start.first(3, (7, 50)) == 50
    assert start.committed(0, 3, (7, 50)) == 7
