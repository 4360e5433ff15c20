"""The verdict: what the columns that were read back say of the promises. Pure functions; no Kafka in here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.chaos.evidence import REJECTED, SCORED, UNTOLD, Evidence, Input, Manifest, Outputs, Sample, key_of

__all__ = ["CHECKS", "Findings", "judge"]

_EXAMPLES = 5
_TOLERANCE = 1e-5
_WARM_S = 20.0
_OLD_S = 60.0
_RSS_GROWTH_BYTES = 64 << 20
_THREADS_GROWTH = 12
_DESCRIPTORS_GROWTH = 24

CHECKS = {
    "ledger": "every acknowledged event is in the input where the brokers said, or anywhere in its partition if the "
    "client was not told where; no event is there twice, none unknown",
    "lost": "every event of the input is scored or rejected",
    "doubled": "no event is scored or rejected twice, or both",
    "unknown": "no result of what was never an event",
    "order": "in each output partition, results are in the order of the events, in the partition of the event",
    "readers": "the reader through the faults saw what the reader afterwards sees",
    "torn": "each transaction is seen as a whole, and no result of an aborted one is seen",
    "scores": "every score is that of a recomputation from the input alone; rejects are those that must be",
    "committed": "the committed offsets are the end of the input",
    "transactions": "no transaction is open",
    "resources": "memory, threads and descriptors of the workers do not grow",
}


@dataclass
class Findings:
    """Violations by check: how many, and some of them in words."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.counts

    def add(self, check: str, count: int, examples: list[str]) -> None:
        """Note violations; 0 of them is none."""
        if count:
            self.counts[check] = self.counts.get(check, 0) + int(count)
            self.examples.setdefault(check, []).extend(examples[:_EXAMPLES])

    def __str__(self) -> str:
        return "; ".join(
            f"{check}: {count} ({', '.join(self.examples[check])})" for check, count in self.counts.items()
        )


def judge(evidence: Evidence) -> Findings:
    """All checks on one run."""
    findings = Findings()
    e = evidence
    for check, count, examples in (
        *_ledger(e),
        *_conserved(e.input, e.fresh),
        *_ordered(e.fresh),
        *_same(e.live, e.fresh),
        *_whole(e.manifests, e.fresh),
        *_scored_right(e.input, e.fresh),
        *_ended(e),
        *_flat(e.samples),
    ):
        findings.add(check, count, examples)
    return findings


_Found = Iterator[tuple[str, int, list[str]]]


def _ledger(e: Evidence) -> _Found:
    """The input against what the producer knows: what brokers lose would spoil every other check."""
    missing = ~np.where(_offset(e.acked_source) == UNTOLD, _in_its_partition(e), _in_its_place(e))
    yield (
        "ledger",
        int(missing.sum()),
        [
            f"event {n} is not at {_place(s)}"
            for n, s in zip(e.acked_number[missing][:5], e.acked_source[missing][:5], strict=True)
        ],
    )
    numbers, counts = np.unique(e.input.number, return_counts=True)
    twice = numbers[counts > 1]
    yield "ledger", len(twice), [f"event {n} is twice in the input" for n in twice[:_EXAMPLES]]
    known = np.concatenate([e.acked_number, np.fromiter(e.indeterminate, np.int64, len(e.indeterminate))])
    strange = np.setdiff1d(numbers, known)
    yield "ledger", len(strange), [f"event {n} was never sent" for n in strange[:_EXAMPLES]]


def _in_its_place(e: Evidence) -> NDArray[np.bool_]:
    """Which acknowledged events are where the brokers said."""
    if not len(e.input.source):
        return np.zeros(len(e.acked_source), np.bool_)
    at = np.minimum(np.searchsorted(e.input.source, e.acked_source), len(e.input.source) - 1)
    found: NDArray[np.bool_] = (e.input.source[at] == e.acked_source) & (e.input.number[at] == e.acked_number)
    return found


def _in_its_partition(e: Evidence) -> NDArray[np.bool_]:
    """Which acknowledged events are anywhere in their partition."""
    present = key_of(e.input.partition, e.input.number)
    return np.isin(key_of(e.acked_source >> 48, e.acked_number), present)


def _conserved(source: Input, out: Outputs) -> _Found:
    found, counts = np.unique(out.source, return_counts=True)
    lost = np.setdiff1d(source.source, found, assume_unique=True)
    yield "lost", len(lost), _places(lost)
    doubled = found[counts > 1]
    yield "doubled", len(doubled), _places(doubled)
    unknown = np.setdiff1d(found, source.source, assume_unique=True)
    yield "unknown", len(unknown), _places(unknown)
    known = np.isin(out.source, source.source)
    number = source.number[np.searchsorted(source.source, out.source[known])]
    wrong = out.source[known][number != out.number[known]]
    yield "unknown", len(wrong), [f"{_place(p)} is the result of another event" for p in wrong[:_EXAMPLES]]


def _ordered(out: Outputs) -> _Found:
    elsewhere = out.partition != out.source_partition
    yield (
        "order",
        int(elsewhere.sum()),
        [f"{p} is in another partition" for p in _places(out.source[elsewhere])],
    )
    same = (np.diff(out.kind) == 0) & (np.diff(out.partition) == 0)
    back = np.flatnonzero(same & (np.diff(out.source_offset) <= 0)) + 1
    yield "order", len(back), [f"{p} comes after a later one" for p in _places(out.source[back])]


def _same(live: Outputs, fresh: Outputs) -> _Found:
    columns = ("kind", "partition", "offset", "source_partition", "source_offset", "number", "score")
    if len(live) != len(fresh):
        yield "readers", abs(len(live) - len(fresh)), [f"{len(live)} records live, {len(fresh)} afterwards"]
        return
    unlike = np.zeros(len(live), bool)
    for name in columns:
        a, b = getattr(live, name), getattr(fresh, name)
        unlike |= ~((a == b) | (a != a) & (b != b))
    yield "readers", int(unlike.sum()), _places(fresh.source[unlike])


def _whole(manifests: list[Manifest], out: Outputs) -> _Found:
    """Each visible manifest's positions are visible, and each visible position is in one manifest."""
    claimed = _claimed(manifests)
    found, counts = np.unique(claimed, return_counts=True)
    seen = np.unique(out.source)
    missing = np.setdiff1d(found, seen, assume_unique=True)
    yield (
        "torn",
        len(missing),
        [f"{p} is in a committed transaction, its result is not seen" for p in _places(missing)],
    )
    loose = np.setdiff1d(seen, found, assume_unique=True)
    yield "torn", len(loose), [f"{p} is seen, its transaction is not" for p in _places(loose)]
    twice = found[counts > 1]
    yield "torn", len(twice), [f"{p} is in two transactions" for p in _places(twice)]
    yield from _numbers(manifests)


def _numbers(manifests: list[Manifest]) -> _Found:
    of: dict[tuple[str, int], int] = defaultdict(int)
    for manifest in manifests:
        of[manifest.worker, manifest.number] += 1
    twice = [
        f"transaction {number} of {worker} is seen {count} times"
        for (worker, number), count in of.items()
        if count > 1
    ]
    yield "torn", len(twice), twice


def _claimed(manifests: list[Manifest]) -> NDArray[np.int64]:
    runs = np.concatenate([m.runs for m in manifests]) if manifests else np.empty((0, 3), np.int64)
    lengths = runs[:, 2] - runs[:, 1] + 1
    starts = np.repeat(key_of(runs[:, 0], runs[:, 1]), lengths)
    before = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return starts + np.arange(int(lengths.sum())) - before


def _scored_right(source: Input, out: Outputs) -> _Found:
    known = np.isin(out.source, source.source)
    expected = source.score[np.searchsorted(source.source, out.source[known])]
    kind, score, place = out.kind[known], out.score[known], out.source[known]
    wrong_kind = (kind == SCORED) & np.isnan(expected) | (kind == REJECTED) & ~np.isnan(expected)
    yield (
        "scores",
        int(wrong_kind.sum()),
        [f"{p} was scored or rejected wrongly" for p in _places(place[wrong_kind])],
    )
    both = (kind == SCORED) & ~np.isnan(expected)
    with np.errstate(invalid="ignore"):
        off = both & ~(np.abs(score - expected) <= _TOLERANCE * np.maximum(1.0, np.abs(expected)))
    yield (
        "scores",
        int(off.sum()),
        [
            f"{_place(p)}: {a:.6g} instead of {b:.6g}"
            for p, a, b in zip(place[off][:5], score[off][:5], expected[off][:5], strict=True)
        ],
    )


def _ended(e: Evidence) -> _Found:
    wrong = {p: (e.committed.get(p), end) for p, end in e.ends.items() if e.committed.get(p) != end}
    yield "committed", len(wrong), [f"partition {p}: {at} of {end}" for p, (at, end) in wrong.items()]
    yield "transactions", len(e.open_transactions), e.open_transactions


def _flat(samples: list[Sample]) -> _Found:
    """Of each process that lived long: the end of its life against its beginning, warm-up left out."""
    by_pid: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.age_s >= _WARM_S:
            by_pid[sample.pid].append(sample)
    for pid, of_one in by_pid.items():
        if of_one[-1].age_s - of_one[0].age_s < _OLD_S:
            continue
        quarter = max(1, len(of_one) // 4)
        for what, allowed in (
            ("rss_bytes", _RSS_GROWTH_BYTES),
            ("threads", _THREADS_GROWTH),
            ("descriptors", _DESCRIPTORS_GROWTH),
        ):
            first, last = (_median(part, what) for part in (of_one[:quarter], of_one[-quarter:]))
            if last - first > max(allowed, 0.25 * first):
                yield "resources", 1, [f"{what} of process {pid} grew from {first:.0f} to {last:.0f}"]


def _median(samples: list[Sample], what: str) -> float:
    return float(np.median([getattr(sample, what) for sample in samples]))


def _offset(source: NDArray[np.int64]) -> NDArray[np.int64]:
    return source & (1 << 48) - 1


def _place(source: Any) -> str:
    partition, offset = int(source) >> 48, int(source) & (1 << 48) - 1
    return f"{partition}:{'?' if offset == UNTOLD else offset}"


def _places(sources: NDArray[np.int64]) -> list[str]:
    return [_place(source) for source in sources[:_EXAMPLES]]
