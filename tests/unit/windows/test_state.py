"""State records: what is read, what is not, and the queue they come from."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from stream_infer.records import Text
from stream_infer.scorer import Scorer
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

NAMES = (b"a", b"b")
LAYOUT = layout_of(window=3, features=2)
PROFILES = profiles_of(LAYOUT, NAMES)


def _table(
    names: list[bytes], partition: int = 0, ttl_s: float = 0, profiles: Profiles = PROFILES
) -> EntityTable:
    """A table that has had one row, a second apart, of each of these names."""
    table = EntityTable(LAYOUT, profiles, ttl_s)
    _feed(table, names, partition, 0)
    return table


def _feed(table: EntityTable, names: list[bytes], partition: int, start: int) -> np.ndarray:
    rng = np.random.default_rng(start)
    offset = np.arange(start, start + len(names))
    columns = columns_of(names, (1000 * offset).tolist(), rng.normal(size=(len(names), 2)))
    scorer = Scorer(Difference(1), table.profiles, table.layout, table)
    return scorer.score(columns, np.full(len(names), partition, np.int32), offset)[1].score


def test_the_layout_of_a_record_is_the_documented_one() -> None:
    records = _table([b"a", b"new"]).flush(0, 7, 7, 10)
    (known_key, known), (unknown_key, unknown) = records.pairs()

    assert (known_key, unknown_key) == (b"ea", b"enew")
    assert len(known) == 36 + 4 * (2 * 2 + 2) + 4
    assert len(unknown) == len(known) + 4 * (5 * 2 + 1 + 2)
    assert known[:4] == bytes([2, 0, 0, 0])
    assert unknown[:4] == bytes([2, 2, 0, 0])
    assert int.from_bytes(known[4:8], "little") == LAYOUT.fingerprint
    assert np.frombuffer(known, "<i8", 3, 8).tolist() == [7, 0, 1]
    assert np.frombuffer(unknown, "<i8", 3, 8).tolist() == [7, 1000, 1]


def test_a_flush_takes_the_longest_dirty_first_and_no_more_than_asked() -> None:
    table = _table([b"a", b"b", b"c", b"a", b"d"])

    assert table.replay_from(0, 5) == 0
    assert [key for key, _ in table.flush(0, 5, before_offset=2, limit=1).pairs()] == [b"ea"]
    assert table.replay_from(0, 5) == 1
    assert [key for key, _ in table.flush(0, 5, before_offset=2, limit=9).pairs()] == [b"eb"]
    assert table.replay_from(0, 5) == 2
    assert {key for key, _ in table.flush(0, 5, before_offset=5, limit=9).pairs()} == {b"ec", b"ed"}
    assert table.replay_from(0, 5) == 5
    assert table.flush(0, 5, before_offset=5, limit=9).record_count == 0


def test_rows_below_as_of_are_not_fresh() -> None:
    table = _table([b"a", b"b"])
    table.flush(0, 2, 2, 1)
    slots = table.find(
        np.zeros(3, np.int32), columns_of([b"a", b"b", b"z"], [0] * 3, np.zeros((3, 2))).entity
    )

    assert table.fresh(slots, np.array([1, 1, 1])).tolist() == [False, True, True]
    assert table.fresh(slots, np.array([2, 2, 2])).all()


def test_partitions_do_not_share_entities_or_queues() -> None:
    table = _table([b"a", b"b"], partition=0)
    _feed(table, [b"a"], 3, 0)

    assert table.entity_count == 3
    assert table.replay_from(3, 1) == 0
    table.drop(0)
    assert table.entity_count == 1
    assert table.replay_from(0, 9) == 9
    assert table.flush(3, 1, 1, 9).record_count == 1


def test_a_tombstone_frees_the_entity_and_the_last_record_counts() -> None:
    (key, old), (other_key, other) = _table([b"a", b"new"]).flush(0, 2, 2, 9).pairs()
    table = EntityTable(LAYOUT, PROFILES)

    assert table.load(0, [key, other_key, key], [old, other, None]) == 0
    assert table.entity_count == 1
    assert table.load(0, [other_key], [None]) == 0
    assert table.entity_count == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value[:-1],
        lambda value: value + b"\0\0\0\0",
        lambda value: b"",
        lambda value: b"\x01" + value[1:],
        lambda value: value[:40] + bytes([value[40] ^ 1]) + value[41:],
        lambda value: value[:4] + bytes(4) + value[8:],
    ],
    ids=["cut", "longer", "empty", "version", "bit", "layout"],
)
def test_a_record_that_cannot_be_read_is_counted_and_its_entity_begins_anew(
    damage: Callable[[bytes], bytes],
) -> None:
    (key, value), (other_key, other) = _table([b"a", b"new"]).flush(0, 2, 2, 9).pairs()
    table = EntityTable(LAYOUT, PROFILES)
    table.load(0, [key], [value])

    assert table.load(0, [key, other_key], [damage(value), other]) == 1
    assert table.entity_count == 1


def test_a_record_from_before_usual_errors_were_kept_is_read_and_they_are_learnt_anew() -> None:
    """Their entities go on: window, smoothed errors and running statistics are as they were."""
    records = dict(_table([b"new"] * 40).flush(0, 40, 40, 10).pairs())
    whole = records[b"enew"]
    without = bytes([2, 1]) + whole[2 : -4 - 4 * (1 + 2)]
    older = without + zlib.crc32(without).to_bytes(4, "little")
    table, fresh = EntityTable(LAYOUT, PROFILES), EntityTable(LAYOUT, PROFILES)
    _feed(table, [b"new"] * 5, 0, 0)  # a slot that is used again
    table.drop(0)

    assert table.load(0, [b"enew"], [older]) == fresh.load(0, [b"enew"], [whole]) == 0
    row = table._rows[table.find(np.zeros(1, np.int32), Text.of([b"new"]))[0]]
    at = LAYOUT.usual_at
    assert row[:at].tobytes() == without[36:]
    assert row[at] == 0
    assert _feed(table, [b"new"], 0, 40) != _feed(fresh, [b"new"], 0, 40)
    np.testing.assert_array_less(0.9, row[at + 1 :] / PROFILES.error_sd[PROFILES.fleet, 0])
    assert row[at] == 1


def test_a_foreign_key_is_counted_and_left_alone() -> None:
    assert EntityTable(LAYOUT, PROFILES).load(0, [b"marker"], [b"anything"]) == 1


def test_a_record_of_another_layout_is_not_read() -> None:
    other = dataclasses.replace(LAYOUT, smoothing=(0.2,))
    (key, value), *_ = _table([b"a"]).flush(0, 1, 1, 9).pairs()

    assert EntityTable(other, PROFILES).load(0, [key], [value]) == 1


def test_an_entity_that_lost_its_profile_begins_anew() -> None:
    """Its record has no running statistics, and the new model needs them."""
    records = list(_table([b"a", b"b"]).flush(0, 2, 2, 9).pairs())
    fewer = EntityTable(LAYOUT, profiles_of(LAYOUT, (b"b",)))

    assert fewer.load(0, *zip(*records, strict=True)) == 1
    assert fewer.entity_count == 1


def test_an_entity_that_gained_a_profile_goes_on() -> None:
    records = list(_table([b"new", b"a"]).flush(0, 2, 2, 9).pairs())
    more = EntityTable(LAYOUT, profiles_of(LAYOUT, (b"a", b"b", b"new")))

    assert more.load(0, *zip(*records, strict=True)) == 0
    assert more.entity_count == 2


def test_a_partition_with_unsaved_rows_is_not_loaded_over() -> None:
    table = _table([b"a"])

    with pytest.raises(ValueError, match="drop it first"):
        table.load(0, [], [])


def test_idle_entities_expire_with_tombstones_only_when_no_replay_can_touch_them() -> None:
    table = _table([b"a", b"b", b"a"], ttl_s=1)
    long_after_ms = 10_000

    assert table.expire(0, long_after_ms, 100) == []  # dirty
    table.flush(0, 3, 3, 1)  # a is clean as of 3, but a replay would begin at 1, with b, and meet a's row 2
    assert table.expire(0, long_after_ms, 100) == []
    table.flush(0, 3, 3, 1)
    assert sorted(table.expire(0, long_after_ms, 100)) == [b"ea", b"eb"]
    table.commit()
    assert table.entity_count == 0


def test_a_sweep_is_bounded_and_comes_round() -> None:
    names = [b"e%d" % i for i in range(10)]
    table = _table(names, ttl_s=1)
    table.flush(0, 10, 10, 99)
    gone = [key for _ in range(4) for key in table.expire(0, 60_000, 3)]

    assert sorted(gone) == [b"e" + name for name in names]


def test_state_survives_growth() -> None:
    """Slots, rows, keys and buckets all grow while the first entities live on."""
    table, quiet = _table([b"a", b"new"]), _table([b"a", b"new"])
    _feed(table, [b"filler-%d" % i for i in range(5000)], 1, 0)

    assert _feed(table, [b"a", b"new"], 0, 2).tolist() == _feed(quiet, [b"a", b"new"], 0, 2).tolist()
    assert table.entity_count == 5002
    assert table.bytes_count > 5000 * LAYOUT.row_length * 4


@pytest.mark.parametrize(
    "change", [{"window": 4}, {"features": 3}, {"smoothing": (0.2,)}, {"clip": (9.0,)}, {"missing": "reject"}]
)
def test_every_part_of_a_layout_is_in_its_fingerprint(change: dict[str, object]) -> None:
    other: Layout = dataclasses.replace(LAYOUT, **change)

    assert other.fingerprint != LAYOUT.fingerprint
    assert dataclasses.replace(LAYOUT).fingerprint == LAYOUT.fingerprint
