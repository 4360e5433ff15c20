"""What is counted of a set of pairs: additive, bounded, the same whatever the order.

Everything is one Tally under the kinds below, except the classes of errors (texts), the first and last time, and the
events that differ most. So ``merge`` of two statistics equals the statistics of all their pairs, exactly.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.buckets import LARGEST, bucket_of
from stream_infer.comparison.pairs import Pairs, relative
from stream_infer.comparison.tally import Tally, key
from stream_infer.comparison.worst import Worst

__all__ = ["JOINT_SIDE", "Count", "Entries", "Kind", "Statistics", "entries_of", "label_entries", "together"]


class Kind(IntEnum):
    """What a count is of. All but the first, the second and the joint one are buckets of values."""

    COUNT = 0
    LABELLED = 1  # code: label * 4 + primary's verdict * 2 + shadow's
    PRIMARY_SCORE = 2
    SHADOW_SCORE = 3
    PRIMARY_RATIO = 4  # score / threshold
    SHADOW_RATIO = 5
    DIFFERENCE = 6  # shadow's score - primary's
    PRIMARY_LATENCY = 7
    SHADOW_LATENCY = 8
    JOINT = 9  # both ratios, coarsely: primary's * JOINT_SIDE + shadow's
    PRIMARY_NORMAL = 10  # ratios of events labelled 0
    PRIMARY_ANOMALY = 11  # ratios of events labelled 1
    SHADOW_NORMAL = 12
    SHADOW_ANOMALY = 13


class Count(IntEnum):
    """Codes of ``Kind.COUNT``."""

    EVENTS = 0
    BOTH = 1
    PRIMARY_ONLY = 2
    SHADOW_ONLY = 3
    NEITHER = 4
    FLIPS = 5  # + primary's verdict * 2 + shadow's, of events with both
    LATENCIES = 9  # events whose latencies are both known
    PRIMARY_LATENCY_MS = 10  # sums of whole milliseconds over those
    SHADOW_LATENCY_MS = 11


JOINT_SIDE: Final = 64
"""Buckets of each side of the joint counts."""

_JOINT_WIDTH: Final = 10
_JOINT_MIDDLE: Final = int(bucket_of(np.ones(1))[0])


@dataclass
class Statistics:
    """Statistics of some pairs.

    ``errors`` counts (side, class of error). ``first_ms`` and ``last_ms`` are the times of events with both scores
    (others may not have been read), None where there is none. ``names`` has the models' names by version.
    """

    tally: Tally = field(default_factory=Tally.empty)
    errors: dict[tuple[str, str], int] = field(default_factory=dict)
    first_ms: int | None = None
    last_ms: int | None = None
    worst: Worst = field(default_factory=Worst)
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Pairs) -> Self:
        """Count pairs."""
        entries = entries_of(pairs)
        counted = cls(Tally.of(entries.keys, entries.counts))
        if len(pairs):
            if len(times := pairs.time_ms[pairs.both]):
                counted.span(int(times.min()), int(times.max()))
            counted.fail(pairs, np.flatnonzero(~pairs.both))
            counted.worst.add(pairs)
            counted.call(pairs.names)
        return counted

    def span(self, first_ms: int, last_ms: int) -> None:
        """Note that compared events from the first to the last of these times are in."""
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)

    def call(self, names: Mapping[str, str]) -> None:
        """Note names of models by their version; of several names of one version the last in the alphabet."""
        for version, name in names.items():
            self.names[version] = max(name, self.names.get(version, ""))

    def fail(self, pairs: Pairs, rows: NDArray[np.int64]) -> None:
        """Count the errors of rows."""
        for side, column in (("primary", pairs.primary_error), ("shadow", pairs.shadow_error)):
            for error in column[rows].tolist():
                if error:
                    self.errors[side, error] = self.errors.get((side, error), 0) + 1

    def merge(self, other: Statistics) -> None:
        """Add another's pairs."""
        self.tally.add(other.tally)
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count
        if other.first_ms is not None and other.last_ms is not None:
            self.span(other.first_ms, other.last_ms)
        self.worst.merge(other.worst)
        self.call(other.names)

    def count(self, code: int) -> int:
        """Return one of the plain counts."""
        return self.tally.get(Kind.COUNT, code)

    @property
    def flips(self) -> NDArray[np.int64]:
        """Return the 2 x 2 matrix of verdicts: rows the primary's (normal, anomaly), columns the shadow's."""
        return np.array([self.count(Count.FLIPS + code) for code in range(4)], np.int64).reshape(2, 2)

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Return the 2 x 2 x 2 counts of labelled events: label, primary's verdict, shadow's."""
        counts = [self.tally.get(Kind.LABELLED, code) for code in range(8)]
        return np.array(counts, np.int64).reshape(2, 2, 2)

    def to_bytes(self) -> bytes:
        """Serialise: JSON, compressed."""
        keys = np.diff(self.tally.keys, prepend=0)
        content = {
            "keys": keys.tolist(),
            "counts": self.tally.counts.tolist(),
            "errors": [[*name, count] for name, count in sorted(self.errors.items())],
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "worst": self.worst.as_list(),
            "names": self.names,
        }
        return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` wrote."""
        content: dict[str, Any] = json.loads(zlib.decompress(data))
        keys = np.cumsum(np.array(content["keys"], np.int64), dtype=np.int64)
        return cls(
            Tally(keys, np.array(content["counts"], np.int64)),
            {(side, error): count for side, error, count in content["errors"]},
            content["first_ms"],
            content["last_ms"],
            Worst.of_list(content["worst"]),
            content["names"],
        )


class Entries(NamedTuple):
    """What is to be counted: each entry adds ``counts`` to a key, for a row of the pairs. All int64."""

    rows: NDArray[np.int64]
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]


def entries_of(pairs: Pairs, *, evidence_only: bool = False) -> Entries:
    """Give all that is to be counted of pairs; with ``evidence_only`` just what verdicts need: no values."""
    rows: list[NDArray[np.int64]] = []
    keys: list[NDArray[np.int64]] = []

    def put(kind: Kind, codes: NDArray[np.int64], at: NDArray[np.int64]) -> None:
        rows.append(at)
        keys.append(np.asarray(key(kind, codes), np.int64))

    every, both = np.arange(len(pairs)), np.flatnonzero(pairs.both)
    put(Kind.COUNT, np.full(len(every), int(Count.EVENTS)), every)
    put(Kind.COUNT, _coverage(pairs), every)
    put(Kind.COUNT, Count.FLIPS + _verdicts(pairs, both), both)
    if not evidence_only:
        _put_values(pairs, both, put)
    ones = np.ones(sum(map(len, rows)), np.int64)
    at, sums = _latency_sums(pairs)
    for code, counts in zip((Count.PRIMARY_LATENCY_MS, Count.SHADOW_LATENCY_MS), sums, strict=True):
        put(Kind.COUNT, np.full(len(at), int(code)), at)
        ones = np.concatenate((ones, counts))
    put(Kind.COUNT, np.full(len(at), int(Count.LATENCIES)), at)
    plain = Entries(
        np.concatenate(rows), np.concatenate(keys), np.concatenate((ones, np.ones(len(at), np.int64)))
    )
    return together(plain, label_entries(pairs, evidence_only=evidence_only))


def label_entries(pairs: Pairs, *, evidence_only: bool = False) -> Entries:
    """Give what is to be counted of labels alone."""
    at = np.flatnonzero(pairs.both & (pairs.label >= 0))
    label = pairs.label[at].astype(np.int64)
    rows, keys = [at], [key(Kind.LABELLED, label * 4 + _verdicts(pairs, at))]
    if not evidence_only:
        for score, threshold, normal, anomaly in (
            (pairs.primary_score, pairs.primary_threshold, Kind.PRIMARY_NORMAL, Kind.PRIMARY_ANOMALY),
            (pairs.shadow_score, pairs.shadow_threshold, Kind.SHADOW_NORMAL, Kind.SHADOW_ANOMALY),
        ):
            buckets = bucket_of(relative(score[at], threshold[at]))
            rows.append(at)
            keys.append(np.where(label > 0, key(anomaly, buckets), key(normal, buckets)))
    return Entries(np.concatenate(rows), np.concatenate(keys), np.ones(sum(map(len, rows)), np.int64))


def together(*parts: Entries) -> Entries:
    """Entries of all parts."""
    return Entries(*map(np.concatenate, zip(*parts, strict=True)))


def _verdicts(pairs: Pairs, at: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs.primary_anomaly[at].astype(np.int64) * 2 + pairs.shadow_anomaly[at]


def _latency_sums(pairs: Pairs) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Rows whose latencies are both known, and those in whole milliseconds: integers add up exactly."""
    both_ms = (pairs.primary_latency_ms, pairs.shadow_latency_ms)
    at = np.flatnonzero(np.isfinite(both_ms[0]) & np.isfinite(both_ms[1]))
    return at, [np.rint(latency_ms[at]).astype(np.int64) for latency_ms in both_ms]


def _coverage(pairs: Pairs) -> NDArray[np.int64]:
    primary, shadow = np.isfinite(pairs.primary_score), np.isfinite(pairs.shadow_score)
    cases = [primary & shadow, primary, shadow]
    codes = [int(Count.BOTH), int(Count.PRIMARY_ONLY), int(Count.SHADOW_ONLY)]
    return np.select(cases, codes, int(Count.NEITHER)).astype(np.int64)


def _put_values(pairs: Pairs, both: NDArray[np.int64], put: Any) -> None:
    """Count the buckets of scores, ratios, differences and latencies."""
    primary, shadow = pairs.primary_score[both], pairs.shadow_score[both]
    ratios = [
        relative(primary, pairs.primary_threshold[both]),
        relative(shadow, pairs.shadow_threshold[both]),
    ]
    for kind, values in (
        (Kind.PRIMARY_SCORE, primary),
        (Kind.SHADOW_SCORE, shadow),
        (Kind.PRIMARY_RATIO, ratios[0]),
        (Kind.SHADOW_RATIO, ratios[1]),
        (Kind.DIFFERENCE, shadow - primary),
    ):
        put(kind, bucket_of(values), both)
    coarse = [
        np.clip((bucket_of(ratio) - _JOINT_MIDDLE) // _JOINT_WIDTH + JOINT_SIDE // 2, 0, JOINT_SIDE - 1)
        for ratio in ratios
    ]
    put(Kind.JOINT, coarse[0] * JOINT_SIDE + coarse[1], both)
    for kind, latency_ms in (
        (Kind.PRIMARY_LATENCY, pairs.primary_latency_ms),
        (Kind.SHADOW_LATENCY, pairs.shadow_latency_ms),
    ):
        there = np.flatnonzero(np.isfinite(latency_ms))
        put(kind, bucket_of(latency_ms[there]), there)


assert LARGEST < 1 << 13
assert max(Kind) < 1 << 4
