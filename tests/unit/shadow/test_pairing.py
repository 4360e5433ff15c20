"""Whatever order the three topics arrive in, each event that the primary decided on is paired once, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.records import Batch, Blobs, Position
from stream_infer.rejects import Reject
from stream_infer.shadow.merge import Known, merge
from stream_infer.shadow.outcomes import NOTHING, REJECTED, SCORED, paired
from stream_infer.shadow.pairing import Beside, Pairing
from stream_infer.shadow.rows import InputRows, RejectRows, ScoredRows

PARTITION = 3


def batch_at(positions: list[int]) -> Batch:
    count = len(positions)
    payloads = Blobs.of([b"x%d" % position for position in positions])
    return Batch(
        payloads.data,
        payloads.ends,
        payloads.null,
        np.full(count, PARTITION, np.int32),
        np.array(positions, np.int64),
        np.array(positions, np.int64) * 10,
        Blobs.of([b"key"] * count),
    )


def input_rows(offsets: list[int]) -> InputRows:
    return InputRows(np.array(offsets, np.int64), batch_at(offsets))


def scored_rows(log: list[tuple[int, int]]) -> ScoredRows:
    """(position, key) of each."""
    keys = [key for _, key in log]
    numbers = np.array([[key, 1.0, key % 2, 1] for key in keys], np.float64).reshape(-1, 4)
    return ScoredRows(
        np.array(keys, np.int64), batch_at([at for at, _ in log]), numbers, [(b"smd", b"v1")] * len(keys)
    )


def reject_rows(log: list[tuple[int, int]]) -> RejectRows:
    rejects = [
        Reject("decode", "truncated", f"row {key}", Position("events", PARTITION, key), 7, "v1", key, key)
        for _, key in log
    ]
    return RejectRows(np.array([key for _, key in log], np.int64), batch_at([at for at, _ in log]), rejects)


@dataclass(frozen=True)
class History:
    """What lies in the three topics of one partition; logs are (position, key)."""

    inputs: list[int]
    scored: list[tuple[int, int]]
    rejected: list[tuple[int, int]]
    passed_over: list[int]
    start: int


@st.composite
def histories(draw) -> History:
    """Events scored, rejected or passed over; gaps in the input; repeats as an at-least-once primary makes them."""
    fates = draw(
        st.lists(st.sampled_from(["scored", "scored", "scored", "rejected", "nothing", "gone"]), max_size=40)
    )
    gaps = draw(st.lists(st.integers(1, 3), min_size=len(fates), max_size=len(fates)))
    offsets = np.cumsum([5, *gaps])[1:].tolist()
    inputs, scored, rejected, passed_over = [], [], [], []
    for offset, fate in zip(offsets, fates, strict=True):
        if fate != "gone":
            inputs.append(offset)
        if fate in {"scored", "gone"}:
            scored.append(offset)
        elif fate == "rejected":
            rejected.append(offset)
        else:
            passed_over.append(offset)
    if scored and draw(st.booleans()):  # the primary was killed and did a stretch again
        end = draw(st.integers(1, len(scored)))
        begin = draw(st.integers(0, end - 1))
        scored = scored[:end] + scored[begin:end] + scored[end:]
    start = draw(st.sampled_from([0, *offsets, 10_000])) if offsets else 0
    return History(inputs, numbered(draw, scored), numbered(draw, rejected), passed_over, start)


def numbered(draw, keys: list[int]) -> list[tuple[int, int]]:
    """Positions with gaps, as transaction markers leave them."""
    steps = draw(st.lists(st.integers(1, 2), min_size=len(keys), max_size=len(keys)))
    return list(zip((np.cumsum([0, *steps])[1:]).tolist(), keys, strict=True))


class Reader:
    """Feeds a pairing in any interleaving and collects what it gives out."""

    def __init__(self, pairing: Pairing) -> None:
        self.pairing = pairing
        self.keys: list[int] = []
        self.kinds: dict[int, int] = {}
        self.gone: set[int] = set()
        self.positions: list[tuple[int, Beside]] = []

    def take(self, limit: int) -> None:
        while (ready := self.pairing.ready(limit)) is not None:
            batch, outcomes = paired([ready])
            assert batch.offset.tolist() == outcomes.offset.tolist()
            assert len(batch.values) == len(outcomes)
            for row, key in enumerate(batch.offset.tolist()):
                self.keys.append(key)
                self.kinds[key] = int(outcomes.kind[row])
                assert bool(outcomes.gone[row]) == bool(batch.null[row])
                if outcomes.gone[row]:
                    self.gone.add(key)
                if outcomes.kind[row] == SCORED:
                    assert outcomes.numbers[row, 0] == key
                    assert outcomes.model[row] == (b"smd", b"v1")
                if outcomes.kind[row] == REJECTED:
                    assert outcomes.rejects[row].source.offset == key
            self.positions.append((self.keys[-1] + 1, self.pairing.beside(self.keys[-1] + 1)))


def feed(draw, reader: Reader, history: History, limit: int) -> None:
    """All three topics in slices, in any order; now and then something is taken out."""
    pairing = reader.pairing
    left = {
        "inputs": list(history.inputs),
        "scored": list(history.scored),
        "rejected": list(history.rejected),
    }
    make = {"inputs": input_rows, "scored": scored_rows, "rejected": reject_rows}
    add = {"inputs": pairing.add_input, "scored": pairing.scored.add, "rejected": pairing.rejected.add}
    while any(left.values()):
        name = draw(st.sampled_from([name for name, rows in left.items() if rows]))
        count = draw(st.integers(1, len(left[name])))
        part, left[name] = left[name][:count], left[name][count:]
        add[name](make[name](part))
        if draw(st.booleans()):
            reader.take(limit)


def finish(reader: Reader, history: History, limit: int) -> None:
    """The topics end; the primary is known to be done with everything."""
    pairing = reader.pairing
    ends = Beside(*(log[-1][0] + 1 if log else 0 for log in (history.scored, history.rejected)))
    pairing.inputs.reached(20_000)
    pairing.scored.reached(ends.scored)
    pairing.rejected.reached(ends.rejected)
    pairing.fence(20_000, ends)
    reader.take(limit)


@settings(deadline=None, max_examples=300)
@given(st.data(), histories(), st.integers(1, 50))
def test_each_result_is_paired_once_and_in_order(data, history, limit):
    reader = Reader(Pairing(PARTITION, 0, history.start, Beside(0, 0)))
    feed(data.draw, reader, history, limit)
    finish(reader, history, limit)

    scored = {key for _, key in history.scored if key >= history.start}
    rejected = {key for _, key in history.rejected if key >= history.start}
    assert reader.keys == sorted({*history.inputs, *scored})
    assert {key for key, kind in reader.kinds.items() if kind == SCORED} == scored
    assert {key for key, kind in reader.kinds.items() if kind == REJECTED} == rejected
    assert reader.gone == scored - set(history.inputs)
    assert all(reader.kinds[key] == NOTHING for key in history.inputs if key < history.start)


@settings(deadline=None, max_examples=200)
@given(st.data(), histories(), st.integers(1, 10))
def test_a_restart_from_committed_positions_goes_on_where_it_was(data, history, limit):
    reader = Reader(Pairing(PARTITION, 0, history.start, Beside(0, 0)))
    feed(data.draw, reader, history, limit)
    if not reader.positions:
        return
    position, beside = data.draw(st.sampled_from(reader.positions))
    if position < history.start:
        return
    before = [key for key in reader.keys if key < position]

    again = Reader(Pairing(PARTITION, position, position, beside))
    rest = History(
        [offset for offset in history.inputs if offset >= position],
        [entry for entry in history.scored if entry[0] >= beside.scored],
        [entry for entry in history.rejected if entry[0] >= beside.rejected],
        [],
        position,
    )
    feed(data.draw, again, rest, limit)
    finish(again, rest, limit)

    scored = {key for _, key in history.scored if key >= history.start}
    assert before + again.keys == sorted({*history.inputs, *scored})
    assert {key for r in (reader, again) for key, kind in r.kinds.items() if kind == SCORED} >= scored


def test_nothing_goes_on_before_the_primary_has_decided():
    pairing = Pairing(PARTITION, 0, 0, Beside(0, 0))
    pairing.add_input(input_rows([1, 2, 3]))
    assert pairing.ready(10) is None
    assert pairing.waits_for == 1
    pairing.scored.add(scored_rows([(0, 1), (1, 3)]))
    first = pairing.ready(10)
    assert first is not None
    assert first.merged.key.tolist() == [1]  # of 2, a reject may still come
    assert pairing.waits_for == 2
    pairing.fence(3, Beside(2, 1))
    assert pairing.ready(10) is None  # the reject topic is not read to its end
    pairing.rejected.reached(1)
    second = pairing.ready(10)
    assert second is not None
    assert second.merged.key.tolist() == [2, 3]


def test_repeats_are_counted_and_what_is_before_the_start_is_not():
    pairing = Pairing(PARTITION, 10, 10, Beside(0, 0))
    pairing.scored.add(scored_rows([(0, 8), (1, 9), (2, 10), (3, 11), (4, 10), (5, 11), (6, 12)]))

    assert len(pairing.scored) == 3
    assert pairing.take_repeated() == 2
    assert pairing.take_repeated() == 0


def test_a_stop_leaves_out_what_is_behind_it():
    pairing = Pairing(PARTITION, 0, 0, Beside(0, 0), stop_at=3)
    pairing.add_input(input_rows([0, 1, 2, 3, 4]))
    pairing.scored.add(scored_rows([(n, n) for n in range(5)]))
    ready = pairing.ready(10)

    assert ready is not None
    assert ready.merged.key.tolist() == [0, 1, 2]
    assert pairing.exhausted
    assert pairing.ready(10) is None


def test_positions_are_those_of_what_was_worked_off():
    pairing = Pairing(PARTITION, 0, 0, Beside(7, 0))
    pairing.add_input(input_rows([0, 1, 2, 3]))
    pairing.scored.add(scored_rows([(7, 0), (9, 1), (11, 2), (12, 3)]))
    assert pairing.ready(2) is not None
    assert pairing.beside(2) == Beside(11, 0)
    assert pairing.beside(1) == Beside(7, 0)  # only a part of it was worked off


def test_plain_pairs_take_the_short_way_and_others_give_the_same():
    keys = np.arange(5, 9)
    none = np.zeros(0, np.int64)
    short = merge(keys, keys, none, Known(8, 8, 8, -1, 0))
    long = merge(keys, keys[:3], np.array([8]), Known(8, 8, 8, -1, 0))

    assert short.key.tolist() == keys.tolist()
    assert short.taken == (4, 4, 0)
    assert long.key.tolist() == keys[:3].tolist()
    assert long.taken == (3, 3, 0)


@pytest.mark.parametrize(
    ("known", "count"),
    [(Known(4, 4, -1, -1, 0), 0), (Known(4, 4, 4, -1, 0), 2), (Known(-1, -1, -1, -1, 9), 2)],
)
def test_an_input_alone_waits_unless_it_is_known_or_before_the_start(known, count):
    merged = merge(np.array([3, 4]), np.zeros(0, np.int64), np.zeros(0, np.int64), known)

    assert len(merged) == count


@pytest.mark.parametrize(("known_scored", "given", "count"), [(-1, 6, 1), (7, 3, 1), (-1, 5, 0)])
def test_a_reject_waits_where_a_scored_event_without_input_may_lie_before_it(known_scored, given, count):
    """The input lacks 6 (it was compacted): a scored event of it may still come."""
    known = Known(7, known_scored, -1, given, 0)
    merged = merge(np.array([7]), np.zeros(0, np.int64), np.array([7]), known)

    assert len(merged) == count
