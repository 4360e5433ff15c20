"""What is counted of records that come from a client which drops some, repeats others, and mixes old with new."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.comparison.positions import Positions


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    read_from: int


def read(offsets: list[int], position: int, partition: int = 0) -> list[Record]:
    """What a client hands over that reads on at a position of a partition with these records."""
    found = []
    for offset in (offset for offset in offsets if offset >= position):
        found.append(Record(partition, offset, position))
        position = offset + 1
    return found


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[int], list[list[Record]]]:
    """Offsets of a partition with gaps in them, and what came of it: some of several readings, mixed."""
    offsets = sorted(draw(st.sets(st.integers(0, 40), min_size=1)))
    batches = []
    for _ in range(draw(st.integers(1, 6))):
        streams = [
            [record for record in read(offsets, draw(st.integers(0, 41))) if draw(st.booleans())]
            for _ in range(draw(st.integers(1, 3)))
        ]
        batch = []
        while any(streams):
            batch.append(draw(st.sampled_from([stream for stream in streams if stream])).pop(0))
        batches.append(batch)
    return offsets, batches


@given(courses())
def test_each_record_is_counted_once_and_in_order_whatever_is_dropped(course):
    """``behind`` says when reading must start again; where it does so, nothing is missing in the end."""
    offsets, batches = course
    positions, counted = Positions(), []
    for batch in batches:
        counted += [record.offset for record in positions.take(batch)]
        assert counted == offsets[: len(counted)]
        assert positions.all().get(0, 0) == (counted[-1] + 1 if counted else 0)
        if batch:
            last = batch[-1]
            assert (0 in positions.behind) == (last.read_from > positions.all().get(0, 0))
    start = positions.restart().get(0, 0)
    assert not positions.behind
    counted += [record.offset for record in positions.take(read(offsets, start))]
    assert counted == offsets
    assert not positions.behind


def test_a_gap_of_one_partition_stops_no_other():
    positions = Positions()
    positions.load({0: 10})
    came = [Record(0, 12, 11), Record(1, 3, 0), Record(0, 13, 13), Record(1, 4, 4)]

    assert positions.take(came) == [came[1], came[3]]
    assert positions.behind == {0}
    assert positions.all() == {0: 10, 1: 5}


@pytest.mark.parametrize(("stored", "expected"), [(7, 10), (12, 12)])
def test_a_stored_position_never_sets_counting_back(stored, expected):
    positions = Positions()
    positions.load({0: 10})

    positions.load({0: stored})

    assert positions.all() == {0: expected}
