"""Labels in any order, changed and taken back: what is counted is what a count of all at the end says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.avro import schemas
from stream_infer.avro.source import SingleSchema
from stream_infer.comparison.label_follower import LabelFollower
from stream_infer.comparison.label_ledger import LabelLedger
from stream_infer.comparison.label_source import LabelSource
from stream_infer.comparison.labels import UNKNOWN, Key, Label, Labels
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.spans import TimeIndex
from stream_infer.comparison.summary import summary
from stream_infer.comparison.verdict import Criteria
from stream_infer.errors import BrokerError, ConfigError
from tests.unit.comparison.pair_data import made

WINDOWS = Windows(block_s=600, minutes=30, hours=5, blocks=40)
CRITERIA = Criteria(minimum_events=1, labelled=True)
PARTS = [
    made(seed, 30, partition, first, labels=False)
    for seed, partition, first in ((1, 0, 0), (2, 1, 0), (3, 0, 30), (4, 1, 30))
]


def segments() -> Segments:
    return Segments({"odd": ("machine-[135]",)}, 4)


class Spoken:
    """A source of labels that a test speaks for."""

    def __init__(self) -> None:
        self.labels = Labels()
        self.changes: dict[Key, int] = {}

    def say(self, key: Key, value: int) -> None:
        for changed, before in self.labels.put(Label(key, value)).items():
            self.changes.setdefault(changed, before)

    def take(self) -> dict[Key, int]:
        changes, self.changes = self.changes, {}
        return changes


class Written:
    """A comparison topic that grows part by part; it counts what is read, and may fail once."""

    def __init__(self) -> None:
        self.parts: list[Pairs] = []
        self.read_count = 0
        self.fails = False

    def spans(self) -> dict[int, tuple[int, int]]:
        ends: dict[int, int] = {}
        for part in self.parts:
            partition = int(part.partition[0])
            ends[partition] = max(ends.get(partition, 0), int(part.offset[-1]) + 1)
        return {partition: (0, end) for partition, end in ends.items()}

    def read(self, partition: int, first: int, end: int) -> Iterator[Pairs]:
        for part in self.parts:
            mine = (part.partition == partition) & (part.offset >= first) & (part.offset < end)
            if mine.any():
                self.read_count += int(mine.sum())
                yield part.take(mine)
                if self.fails:
                    self.fails = False
                    raise BrokerError("nobody answers")


class Live:
    """What an app has: a ledger of all that was written, and the labels beside it."""

    def __init__(self, rest: float = 0.0) -> None:
        self.source, self.topic = Spoken(), Written()
        self.ledger = Ledger(WINDOWS, segments())
        self.follower = LabelFollower(self.source, self.topic, lambda: LabelLedger(WINDOWS, segments()), rest)

    def write(self, part: Pairs) -> None:
        self.topic.parts.append(part)
        self.ledger.add(part)

    def agrees(self) -> None:
        """The numbers are those of a count of everything with the labels of now."""
        whole = Ledger(WINDOWS, segments())
        for part in self.topic.parts:
            whole.add(labelled(part, self.source.labels.before(part, {})))
        for window in ("total", "hour", "minute", "block"):
            assert self.follower.merged(self.ledger).select(window) == whole.select(window)


def labelled(part: Pairs, labels: np.ndarray) -> Pairs:
    copy = part.take(np.arange(len(part)))
    copy.label[:] = labels
    return copy


def key_of(number: int, *, by_moment: bool) -> Key:
    """A name of one of the first events of the first two parts."""
    part, row = PARTS[number % 2], number // 2
    if by_moment:
        return part.entity[part.entity_code[row]], int(part.time_ms[row])
    return str(part.event_id[row])


said = st.tuples(st.integers(0, 7), st.booleans(), st.sampled_from([0, 1, 1, UNKNOWN]))
steps = st.lists(st.one_of(st.just("write"), st.just("turn"), said), min_size=10, max_size=40)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_whenever_labels_come_the_numbers_are_those_of_the_report(course):
    live, parts = Live(), iter(PARTS)
    for step in ("write", "turn", *course):
        if step == "write":
            part = next(parts, None)
            if part is not None:
                live.write(part)
        elif step == "turn":
            live.follower.turn()
        else:
            number, by_moment, value = step
            live.source.say(key_of(number, by_moment=by_moment), value)
    live.follower.turn()

    live.agrees()


def test_a_label_is_exchanged_and_taken_back():
    live = Live()
    live.write(PARTS[0])
    live.follower.turn()
    row = int(np.flatnonzero(PARTS[0].both)[0])
    counted = []
    for value in (1, 0, UNKNOWN):
        live.source.say(str(PARTS[0].event_id[row]), value)
        live.follower.turn()
        live.agrees()
        totals = live.follower.merged(live.ledger).select("total").values()
        counted.append(sum(starts[0].labelled.sum(axis=(1, 2)) for starts in totals).tolist())

    assert counted[0][0] == counted[1][1] == 0
    assert counted[0][1] == counted[1][0] > 0
    assert counted[2] == [0, 0]


def test_a_correction_that_fails_half_way_is_made_good():
    live = Live()
    for part in PARTS:
        live.write(part)
    live.follower.turn()
    live.source.say("e0-7", 1)
    live.source.say("e1-15", 1)
    live.topic.fails = True
    live.follower.turn()
    assert not live.follower.is_ready
    live.follower.turn()

    assert live.follower.is_ready
    live.agrees()
    merged = live.follower.merged(live.ledger)
    assert summary(merged, CRITERIA)["comparisons"][0]["total"]["labels"]["events"] > 0


def test_a_label_with_a_time_makes_only_its_stretch_be_read_again():
    live = Live()
    for first in range(0, 20_000, 10_000):
        live.write(made(first, 10_000, 0, first, labels=False))
    live.follower.turn()
    live.topic.read_count = 0
    part = live.topic.parts[1]
    live.source.say((part.entity[part.entity_code[5000]], int(part.time_ms[5000])), 1)
    live.follower.turn()

    assert live.topic.read_count == 10_000
    live.agrees()


def test_labels_wait_after_a_correction_that_took_long():
    live = Live(rest=1e9)
    for part in PARTS:
        live.write(part)
    live.follower.turn()
    for event in ("e0-1", "e0-2"):
        live.source.say(event, 1)
        live.follower.turn()

    assert live.source.changes == {"e0-2": UNKNOWN}


def test_a_time_index_is_bounded_and_never_misses():
    rng = np.random.default_rng(0)
    index, offset, held = TimeIndex(), 0, []
    for _ in range(9000):
        time_ms = rng.integers(0, 10_000_000, 2) + offset * 100
        held.append((offset, time_ms))
        index.add(np.array([offset, offset + 6000]), time_ms)
        offset += 6001

    assert len(index._spans) <= 4096
    assert list(index.of(None)) == [(0, offset)]
    for first, time_ms in held[::500]:
        stretches = list(index.of(np.sort(time_ms[:1])))
        assert any(start <= first < end for start, end in stretches)
    assert not list(index.of(np.array([-1])))


def write_labels(path: Path, labels: dict[str, int | None]) -> None:
    """Replace the file, as a careful writer does; its time is another one for sure."""
    table = pa.table({"event_id": list(labels), "label": pa.array(list(labels.values()), pa.int8())})
    number = path.stat().st_mtime_ns + 1_000_000_000 if path.exists() else None
    pq.write_table(table, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    if number is not None:
        os.utime(path, ns=(number, number))


def test_a_file_is_read_again_when_it_changes(tmp_path, caplog):
    path = tmp_path / "labels.parquet"
    write_labels(path, {"a": 1, "b": 0, "c": 1})
    source = LabelSource(Labels(), path, None, SingleSchema(schemas.text("comparison")))

    assert source.take() == {"a": UNKNOWN, "b": UNKNOWN, "c": UNKNOWN}
    assert source.take() == {}
    source.labels.put(Label("c", 0))
    write_labels(path, {"a": 0, "c": None, "d": 1})
    assert source.take() == {"a": 1, "b": 0, "d": UNKNOWN}  # of c the topic's label counts
    assert [source.labels.value(key) for key in "abcd"] == [0, UNKNOWN, 0, 1]
    path.write_bytes(b"half a fi")
    assert source.take() == {}
    assert "labels stay as they were" in caplog.text
    path.unlink()
    assert source.take() == {}
    write_labels(path, {"a": 1})
    assert source.take() == {"a": 0, "d": 1}


def test_more_labels_than_are_kept(tmp_path):
    labels = Labels(2)
    for number in range(5):
        labels.put(Label(f"e-{number}", 1))
    labels.put(Label("e-1", 0))

    assert (len(labels), labels.refused_count, labels.value("e-1")) == (2, 3, 0)
    write_labels(tmp_path / "l.parquet", {"a": 1, "b": 1, "c": 0})
    with pytest.raises(ConfigError, match=r"has 3 labels, more than compare.labels_kept = 2\. Cure"):
        labels.read(tmp_path / "l.parquet")
