"""The checker finds what it is for: a clean run passes, and each planted violation is found under its own name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stream_infer.records import Text
from tests.chaos.checker import CHECKS, judge
from tests.chaos.evidence import REJECTED, SCORED, UNTOLD, Evidence, Input, Manifest, Outputs, Sample, key_of
from tests.chaos.ledger import event_number, poison_key
from tests.chaos.manifest import runs_of
from tests.chaos.reader import event_numbers, poison_number

PARTITIONS, COUNT = 3, 40
POISONED = 7  # every event whose offset ends so is poison


def clean() -> Evidence:
    """Three partitions of forty events, some of them poison, worked on in transactions of ten."""
    partition = np.repeat(np.arange(PARTITIONS, dtype=np.int32), COUNT)
    offset = np.tile(np.arange(COUNT, dtype=np.int64), PARTITIONS)
    number = np.arange(PARTITIONS * COUNT, dtype=np.int64) + 1000
    score = np.where(offset % 10 == POISONED, np.nan, 1.0 + number / 7)
    out = outputs(partition, offset, number, score)
    manifests = [
        Manifest("w", 1 + p * 4 + n, np.array([[p, n * 10, n * 10 + 9]]))
        for p in range(PARTITIONS)
        for n in range(4)
    ]
    committed = dict.fromkeys(range(PARTITIONS), COUNT)
    source = Input(partition, offset, number, score)
    return Evidence(
        number[:-1], source.source[:-1], {int(number[-1])}, source, out, out, manifests, committed, committed
    )


def outputs(partition: np.ndarray, offset: np.ndarray, number: np.ndarray, score: np.ndarray) -> Outputs:
    """Each event's result where it belongs; the offsets of the output have gaps, as markers make them."""
    kind = np.where(np.isnan(score), REJECTED, SCORED).astype(np.int8)
    count = len(kind)
    return Outputs.joined(
        [
            Outputs(
                kind,
                partition,
                offset + offset // 10,
                partition.astype(np.int64),
                offset,
                number,
                score,
                np.zeros(count, np.int64),
                np.zeros(count),
            )
        ]
    )


def rows(out: Outputs, wanted: np.ndarray) -> Outputs:
    return Outputs.joined([Outputs(*(getattr(out, f)[wanted] for f in Outputs.__dataclass_fields__))])


def both(e: Evidence, out: Outputs) -> Evidence:
    return replace(e, live=out, fresh=out)


def changed(out: Outputs, row: int, **values: float) -> Outputs:
    columns = {f: getattr(out, f).copy() for f in Outputs.__dataclass_fields__}
    for name, value in values.items():
        columns[name][row] = value
    return Outputs(**columns)


def lost(e: Evidence) -> Evidence:
    return both(e, rows(e.fresh, np.arange(len(e.fresh)) != 5))


def doubled(e: Evidence) -> Evidence:
    again = changed(rows(e.fresh, np.array([5])), 0, offset=500)
    return both(e, Outputs.joined([e.fresh, again]))


def scored_and_rejected(e: Evidence) -> Evidence:
    again = changed(rows(e.fresh, np.array([5])), 0, kind=REJECTED, offset=500, score=np.nan)
    return both(e, Outputs.joined([e.fresh, again]))


def of_no_event(e: Evidence) -> Evidence:
    more = changed(rows(e.fresh, np.array([5])), 0, source_offset=COUNT, offset=500)
    return both(e, Outputs.joined([e.fresh, more]))


def of_another_event(e: Evidence) -> Evidence:
    return both(e, changed(e.fresh, 5, number=77))


def out_of_order(e: Evidence) -> Evidence:
    out = changed(changed(e.fresh, 5, offset=int(e.fresh.offset[6])), 6, offset=int(e.fresh.offset[5]))
    return both(e, Outputs.joined([out]))


def in_another_partition(e: Evidence) -> Evidence:
    return both(e, Outputs.joined([changed(e.fresh, 5, partition=2, offset=500)]))


def live_saw_less(e: Evidence) -> Evidence:
    return replace(e, live=rows(e.live, np.arange(len(e.live)) != 5))


def live_saw_other(e: Evidence) -> Evidence:
    return replace(e, live=changed(e.live, 5, score=9.0))


def half_a_transaction(e: Evidence) -> Evidence:
    """Five results of a transaction are gone; another transaction made them anew: nothing is lost or doubled."""
    again = Manifest("v", 1, np.array([[0, 5, 9]]))
    return replace(e, manifests=[*e.manifests, again])


def aborted_seen(e: Evidence) -> Evidence:
    return replace(e, manifests=e.manifests[1:])


def manifest_twice(e: Evidence) -> Evidence:
    return replace(e, manifests=[*e.manifests, replace(e.manifests[0], runs=np.empty((0, 3), np.int64))])


def wrong_score(e: Evidence) -> Evidence:
    return both(e, changed(e.fresh, 5, score=float(e.fresh.score[5]) * 1.001))


def poison_scored(e: Evidence) -> Evidence:
    row = int(np.flatnonzero(e.fresh.kind == REJECTED)[0])
    return both(e, Outputs.joined([changed(e.fresh, row, kind=SCORED, score=1.0, offset=8)]))


def good_rejected(e: Evidence) -> Evidence:
    return both(e, Outputs.joined([changed(e.fresh, 5, kind=REJECTED, score=np.nan)]))


def not_committed(e: Evidence) -> Evidence:
    return replace(e, committed={**e.committed, 1: COUNT - 1})


def committed_nothing(e: Evidence) -> Evidence:
    return replace(e, committed={})


def left_open(e: Evidence) -> Evidence:
    return replace(e, open_transactions=["t.scored[0]"])


def acked_is_not_there(e: Evidence) -> Evidence:
    return replace(e, acked_source=e.acked_source + (np.arange(len(e.acked_source)) == 4))


def untold(e: Evidence, *rows: int) -> Evidence:
    """The producer was not told where these acknowledged events are."""
    source = e.acked_source.copy()
    source[list(rows)] = key_of(source[list(rows)] >> 48, np.full(len(rows), UNTOLD))
    return replace(e, acked_source=source)


def untold_and_not_there(e: Evidence) -> Evidence:
    number = e.acked_number.copy()
    number[5] = 77
    return untold(replace(e, acked_number=number, indeterminate=e.indeterminate | {1005}), 5)


def untold_and_elsewhere(e: Evidence) -> Evidence:
    return untold(
        replace(e, acked_source=e.acked_source + (1 << 48) * (np.arange(len(e.acked_source)) == 5)), 5
    )


def input_has_it_twice(e: Evidence) -> Evidence:
    number = e.input.number.copy()
    number[-1] = number[3]
    out = changed(
        e.fresh, int(np.flatnonzero(e.fresh.number == e.input.number[-1])[0]), number=int(number[3])
    )
    return both(replace(e, input=replace(e.input, number=number)), out)


def never_sent(e: Evidence) -> Evidence:
    return replace(e, indeterminate=set())


def leaking(what: str, per_s: float) -> Callable[[Evidence], Evidence]:
    def grow(e: Evidence) -> Evidence:
        first = {"rss_bytes": 300 << 20, "threads": 20, "descriptors": 60}
        samples = [
            Sample(1, float(age), **{k: int(v + (per_s * age if k == what else 0)) for k, v in first.items()})
            for age in range(0, 300, 2)
        ]
        return replace(e, samples=samples)

    return grow


PLANTED: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("lost", lost),
    ("doubled", doubled),
    ("doubled", scored_and_rejected),
    ("unknown", of_no_event),
    ("unknown", of_another_event),
    ("order", out_of_order),
    ("order", in_another_partition),
    ("readers", live_saw_less),
    ("readers", live_saw_other),
    ("torn", half_a_transaction),
    ("torn", aborted_seen),
    ("torn", manifest_twice),
    ("scores", wrong_score),
    ("scores", poison_scored),
    ("scores", good_rejected),
    ("committed", not_committed),
    ("committed", committed_nothing),
    ("transactions", left_open),
    ("ledger", acked_is_not_there),
    ("ledger", untold_and_not_there),
    ("ledger", untold_and_elsewhere),
    ("ledger", lambda e: untold(input_has_it_twice(e), 3)),
    ("ledger", input_has_it_twice),
    ("ledger", never_sent),
    ("resources", leaking("rss_bytes", 1 << 20)),
    ("resources", leaking("threads", 0.1)),
    ("resources", leaking("descriptors", 0.2)),
]


def test_a_clean_run_passes() -> None:
    assert judge(clean()).counts == {}
    assert judge(leaking("rss_bytes", 0.0)(clean())).counts == {}
    assert judge(untold(clean(), 3, 4, 50)).counts == {}


@pytest.mark.parametrize(("check", "plant"), PLANTED)
def test_a_planted_violation_is_found(check: str, plant: Callable[[Evidence], Evidence]) -> None:
    findings = judge(plant(clean()))

    assert findings.counts.get(check), f"not found: {findings}"
    assert findings.examples[check]


def test_nothing_at_all_is_lost() -> None:
    nothing = Outputs.joined([])
    findings = judge(replace(both(clean(), nothing), manifests=[]))

    assert findings.counts["lost"] == PARTITIONS * COUNT


def test_every_check_is_tested() -> None:
    assert {check for check, _ in PLANTED} == set(CHECKS)


def test_positions_become_runs_and_a_repeated_one_shows() -> None:
    partition, offset = np.array([1, 0, 0, 0, 1]), np.array([9, 3, 4, 6, 10])

    assert runs_of(key_of(partition, offset)).tolist() == [[0, 3, 4], [0, 6, 6], [1, 9, 10]]
    assert runs_of(key_of(np.array([0, 0]), np.array([5, 5]))).tolist() == [[0, 5, 5], [0, 5, 5]]


def test_numbers_are_read_from_ids_and_keys() -> None:
    ids = Text.of([b"007-000000123", b"other", b"00x-000000123", b"199-000000000"])

    assert event_numbers(ids).tolist() == [event_number(7, 123), -1, -1, event_number(199, 0)]
    assert [poison_number(key) for key in (poison_key(12), b"host-001", None)] == [12, -1, -1]
