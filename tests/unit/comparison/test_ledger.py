"""The ledger: the same cells however the records come, and however often it is begun anew."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.comparison.ledger import Cell, Ledger, Windows
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.statistics import Statistics
from tests.unit.comparison.pair_data import ENTITIES, VERSIONS, joined, made

RULES = {"odd": ("machine-[135]",), "none": ("x*",)}
WINDOWS = Windows(block_s=600, minutes=30, hours=5, blocks=40)


def ledger(entities: int = 100) -> Ledger:
    return Ledger(WINDOWS, Segments(RULES, entities))


def batches(partition: int, seed: int) -> list[Pairs]:
    return [made(seed + number, 300, partition, first=number * 300) for number in range(4)]


def flat(of: Ledger) -> dict:
    return {
        (window, *name, start): statistics
        for window in ("total", "hour", "minute", "block")
        for name, starts in of.select(window).items()
        for start, statistics in starts.items()
    }


@pytest.fixture(scope="module")
def plain() -> dict:
    """All records of two partitions, one after the other."""
    whole = ledger()
    for pairs in batches(0, 10) + batches(1, 20):
        whole.add(pairs)
    return flat(whole)


def test_a_cell_is_the_statistics_of_its_rows(plain):
    pairs = joined(batches(0, 10) + batches(1, 20))
    found, exact = plain["total", VERSIONS[0], "all", 0], Statistics.of(pairs.take(pairs.versions_code == 0))
    assert (found.tally, found.first_ms, found.last_ms) == (exact.tally, exact.first_ms, exact.last_ms)
    assert found.names == {"p1": "smd", "s1": "smd"}
    odd = np.isin(pairs.entity_code, [1, 3, 5])
    found = plain["total", VERSIONS[1], "rule:odd", 0]
    exact = Statistics.of(pairs.take((pairs.versions_code == 1) & odd))
    assert (found.tally, found.errors, found.worst) == (exact.tally, exact.errors, exact.worst)
    hours = {key[-1] for key in plain if key[:3] == ("hour", VERSIONS[1], "all")}
    hour = max(hours)
    mine = (pairs.versions_code == 1) & (pairs.time_ms // 3_600_000 * 3_600_000 == hour)
    found, exact = plain["hour", VERSIONS[1], "all", hour], Statistics.of(pairs.take(mine))
    assert (found.tally, found.errors, found.last_ms) == (exact.tally, exact.errors, exact.last_ms)
    assert not any(key[2] == "rule:none" for key in plain)


def test_the_order_of_partitions_and_the_size_of_batches_do_not_matter(plain):
    mixed = ledger()
    for first, second in zip(batches(0, 10), batches(1, 20), strict=True):
        both = joined([second, first])
        for part in np.array_split(np.arange(len(both)), 7):
            mixed.add(both.take(part))

    assert flat(mixed) == plain


def test_records_that_come_twice_in_one_batch_count_once(plain):
    """Faust hands over the first records of a partition twice when it is sent back after a recovery."""
    book = ledger()
    for pairs in batches(0, 10) + batches(1, 20):
        book.add(joined([pairs.take(np.arange(3)), pairs, pairs.take(np.arange(100, 140))]))

    assert flat(book) == plain


def test_only_the_newest_windows_are_kept(plain):
    pairs = joined(batches(0, 10) + batches(1, 20))
    for window in ("minute", "hour", "block"):
        span_ms = WINDOWS.span_ms(window)
        for code, of in enumerate(VERSIONS):
            every = np.unique(pairs.time_ms[pairs.versions_code == code] // span_ms * span_ms)
            kept = [
                start
                for name, versions, segment, start in plain
                if (name, versions, segment) == (window, of, "all")
            ]
            assert sorted(kept) == every[-WINDOWS.kept(window) :].tolist()


def test_an_event_with_a_wild_time_takes_the_place_of_one_window(plain):
    book = ledger()
    wild = made(98, 1, 0, first=1200)
    wild.time_ms[:] = 1 << 50
    wild.versions_code[:] = 0
    for pairs in [*batches(0, 10), wild, *batches(1, 20)]:
        book.add(pairs)

    for window in ("minute", "hour", "block"):
        mine = {key[-1] for key in flat(book) if key[:3] == (window, VERSIONS[0], "all")}
        plain_ones = {key[-1] for key in plain if key[:3] == (window, VERSIONS[0], "all")}
        assert len(plain_ones - mine) <= 1
        assert len(mine - plain_ones) == 1


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_at_any_place_changes_nothing(plain, seed):
    """Some changed cells are stored, others not; then all is loaded anew and read again from an earlier place."""
    rng = np.random.default_rng(seed)
    stored: dict = {}
    parts = batches(0, 10) + batches(1, 20)
    for number, pairs in enumerate(parts):
        book = ledger()
        for key, cell in stored.items():
            book.load(key, Cell(cell[0], Statistics.from_bytes(cell[1])))
        # At the worst everything not acknowledged is read again, and nothing of this attempt but a part was stored.
        for again in (*parts[:number], pairs):
            touched, gone = book.add(again)
            for key in touched:
                if again is not pairs or rng.random() < 0.5:
                    cell = book.cells[key]
                    stored[key] = cell.position, cell.statistics.to_bytes()
            for key in gone:
                stored.pop(key, None)
    book = ledger()
    for key, (position, value) in stored.items():
        book.load(key, Cell(position, Statistics.from_bytes(value)))
    for pairs in parts:
        book.add(pairs)

    assert flat(book) == plain
    ends = {
        partition: max(cell.position for key, cell in book.cells.items() if key.partition == partition)
        for partition in (0, 1)
    }
    assert ends == {0: 1200, 1: 1200}


def test_of_many_entities_a_fixed_sample_is_kept_whole(plain):
    one, other = ledger(3), ledger(3)
    parts = batches(0, 10) + batches(1, 20)
    for pairs in parts:
        one.add(pairs)
    for number, pairs in enumerate(reversed(batches(1, 20)[:1] + batches(0, 10))):
        other.add(pairs if number else made(99, 50, 7))

    def kept(of: Ledger) -> set[str]:
        return {name for _, name in of.select("total") if name.startswith("entity:")}

    assert kept(one) == kept(other)
    assert len(kept(one)) == 3 < len(ENTITIES)
    found = flat(one)
    assert all(found[key] == plain[key] for key in found)
