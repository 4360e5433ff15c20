"""Merging is adding: statistics of parts, in any order and grouping, are the statistics of the whole."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.comparison.buckets import ACCURACY, GREATEST, LARGEST, bucket_of, quantiles, value_of
from stream_infer.comparison.statistics import Count, Kind, Statistics
from stream_infer.comparison.tally import Tally
from tests.unit.comparison.pair_data import made


@given(st.integers(0, 10_000), st.integers(1, 120), st.lists(st.integers(0, 120), max_size=4))
@settings(max_examples=60, deadline=None)
def test_merged_parts_equal_one_pass(seed, count, cuts):
    pairs = made(seed, count)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    parts = [Statistics.of(pairs.take(np.arange(a, b))) for a, b in pairwise(edges)]
    np.random.default_rng(seed).shuffle(parts)
    merged = Statistics()
    for part in parts:
        merged.merge(part)

    assert merged == Statistics.of(pairs)


@given(st.integers(0, 10_000), st.integers(0, 80))
@settings(max_examples=30, deadline=None)
def test_what_is_stored_is_what_is_read_back(seed, count):
    statistics = Statistics.of(made(seed, count))

    assert Statistics.from_bytes(statistics.to_bytes()) == statistics


def test_counts_are_those_of_a_loop():
    pairs = made(3, 500)
    statistics = Statistics.of(pairs)
    flips, labelled, only = np.zeros((2, 2), int), np.zeros((2, 2, 2), int), [0, 0, 0]
    for row in range(len(pairs)):
        primary, shadow = int(pairs.primary_anomaly[row]), int(pairs.shadow_anomaly[row])
        if min(primary, shadow) >= 0:
            flips[primary, shadow] += 1
            if pairs.label[row] >= 0:
                labelled[pairs.label[row], primary, shadow] += 1
        else:
            only[0 if primary >= 0 else 1 if shadow >= 0 else 2] += 1

    assert (statistics.flips == flips).all()
    assert (statistics.labelled == labelled).all()
    assert [statistics.count(code) for code in (Count.PRIMARY_ONLY, Count.SHADOW_ONLY, Count.NEITHER)] == only
    assert statistics.count(Count.EVENTS) == 500
    assert (
        sum(statistics.errors.values())
        == np.isnan(pairs.primary_score).sum() + np.isnan(pairs.shadow_score).sum()
    )
    known = np.isfinite(pairs.shadow_latency_ms)
    assert statistics.count(Count.SHADOW_LATENCY_MS) == pairs.shadow_latency_ms[known].sum()
    assert statistics.count(Count.LATENCIES) == known.sum()


def test_the_worst_are_the_worst_of_their_groups():
    pairs = made(11, 2000)
    both = pairs.both
    ratio = {
        side: getattr(pairs, f"{side}_score") / getattr(pairs, f"{side}_threshold")
        for side in ("primary", "shadow")
    }
    groups: dict[tuple[str, int], tuple[bool, float]] = {}
    for row in np.flatnonzero(both):
        group = pairs.entity[pairs.entity_code[row]], int(pairs.time_ms[row]) // 3_600_000
        rank = (
            bool(pairs.primary_anomaly[row] != pairs.shadow_anomaly[row]),
            float(abs(ratio["shadow"][row] - ratio["primary"][row])),
        )
        groups[group] = max(groups.get(group, (False, -1.0)), rank)
    wanted = sorted(groups.values(), reverse=True)[:20]

    found = Statistics.of(pairs).worst.ranked

    assert [(one.flipped, one.size) for one in found] == wanted
    assert found[0].primary_features == (("cpu", 0.75), ("load", 0.25))


@given(
    st.lists(
        st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-6), min_size=1, max_size=200
    ),
    st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0]),
)
@settings(max_examples=200, deadline=None)
def test_a_quantile_is_within_the_accuracy_of_one_of_its_rank(values, share):
    given_values = np.clip(np.array(values), -GREATEST, GREATEST)
    tally = Tally.of(bucket_of(given_values), np.ones(len(values), np.int64))

    found = quantiles(tally.keys, tally.counts, np.array([share]))[0]

    exact = np.sort(given_values)[math.floor(share * (len(values) - 1))]
    assert found == pytest.approx(exact, rel=ACCURACY * 1.0001)


def test_buckets_ascend_with_their_values_and_are_bounded():
    values = np.array([-np.inf, -1e300, -3.0, -2.9, -1e-12, 0.0, 1e-12, 1e-9, 0.5, 0.6, 1e300, np.inf])

    buckets = bucket_of(values)

    assert (np.diff(buckets) >= 0).all()
    assert np.abs(buckets).max() <= LARGEST
    assert (np.diff(value_of(np.arange(-LARGEST, LARGEST + 1))) > 0).all()


def test_size_is_bounded_by_the_buckets_not_the_events():
    sizes = []
    statistics = Statistics()
    for seed in range(12):
        statistics.merge(Statistics.of(made(seed, 4000, first=seed * 4000)))
        sizes.append(len(statistics.to_bytes()))

    assert sizes[-1] < 1.6 * sizes[2]
    assert len(statistics.worst.events) == 20
    assert statistics.tally.kind(Kind.JOINT)[1].sum() == statistics.count(Count.BOTH)
