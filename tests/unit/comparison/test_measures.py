"""Measures against the formulas written out, on the values themselves."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.comparison import measures
from stream_infer.comparison.buckets import bucket_of
from stream_infer.comparison.statistics import Kind, Statistics
from stream_infer.comparison.tally import Tally
from stream_infer.models.vus import auc_pr
from tests.unit.comparison.pair_data import made

COUNTS = st.integers(0, 200)


def counted(values):
    tally = Tally.of(bucket_of(np.asarray(values, float)), np.ones(len(values), np.int64))
    return tally.keys, tally.counts


@given(COUNTS, COUNTS, COUNTS, COUNTS)
@settings(max_examples=100, deadline=None)
def test_kappa(a, b, c, d):
    total = a + b + c + d
    found = measures.kappa(np.array([[a, b], [c, d]]))
    if not total:
        assert found is None
        return
    observed = Fraction(a + d, total)
    expected = Fraction((a + b) * (a + c) + (c + d) * (b + d), total * total)
    assert (
        found is None
        if expected == 1
        else found == pytest.approx(float((observed - expected) / (1 - expected)))
    )


@given(st.integers(0, 300), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_wilson_ends_solve_its_equation(hits, count):
    hits = min(hits, count)
    low, high = measures.wilson(hits, count)
    share, z = hits / count, 1.959963984540054
    for end in (low, high):
        # (share - p)^2 = z^2 p (1 - p) / n at both ends, but for those clipped to 0 and 1
        assert (share - end) ** 2 == pytest.approx(z * z * end * (1 - end) / count, abs=1e-9)
    assert 0 <= low <= share <= high <= 1


def test_wilson_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for hits in rng.binomial(80, 0.07, 4000).tolist():
        low, high = measures.wilson(hits, 80)
        covered += low <= 0.07 <= high
    assert 0.93 < covered / 4000 < 0.975


def test_ks_equals_that_of_the_values():
    rng = np.random.default_rng(2)
    one, other = rng.lognormal(0, 1, 700), rng.lognormal(0.4, 0.8, 500)
    every = np.union1d(one, other)
    cumulated = [
        np.searchsorted(np.sort(values), every, side="right") / len(values) for values in (one, other)
    ]
    exact = np.abs(cumulated[0] - cumulated[1]).max()

    found = measures.ks(counted(one), counted(other))

    # Between two edges of buckets of 2 % each sample has a few values.
    assert found <= exact + 1e-12
    assert found == pytest.approx(exact, abs=0.02)


def test_psi_equals_the_sum_over_bins_of_the_buckets():
    rng = np.random.default_rng(3)
    one, other = rng.lognormal(0, 1, 5000), rng.lognormal(0.3, 1, 4000)
    edges = np.quantile(one, np.arange(1, 10) / 10)
    shares = [(np.bincount(np.searchsorted(edges, values), minlength=10) + 0.5) for values in (one, other)]
    shares = [share / share.sum() for share in shares]
    exact = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())

    assert measures.psi(counted(one), counted(other)) == pytest.approx(exact, abs=0.01)
    assert measures.psi(counted(one), counted(one)) == 0


def test_rank_correlation_is_that_of_the_ranks():
    pairs = made(5, 3000)
    both = pairs.both
    ranks = [
        np.argsort(
            np.argsort(getattr(pairs, f"{side}_score")[both] / getattr(pairs, f"{side}_threshold")[both])
        )
        for side in ("primary", "shadow")
    ]
    exact = np.corrcoef(ranks)[0, 1]

    found = measures.rank_correlation(Statistics.of(pairs).tally.kind(Kind.JOINT))

    assert found == pytest.approx(exact, abs=0.01)


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0]), st.booleans()), min_size=1, max_size=60)
)
@settings(max_examples=100, deadline=None)
def test_average_precision_equals_that_of_evaluate(scored):
    score, label = np.array([one[0] for one in scored]), np.array([one[1] for one in scored])
    found = measures.average_precision(counted(score[~label]), counted(score[label]))
    assert found is None if not label.any() else found == pytest.approx(auc_pr(score, label))


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(b, c):
    found = measures.mcnemar(b, c)
    if b + c == 0:
        assert found is None
        return
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found == pytest.approx(min(1.0, 2 * tail))


def test_what_does_not_exist_is_none():
    empty = Tally.empty().kind(0)
    assert measures.wilson(0, 0) is None
    assert measures.ks(empty, empty) is None
    assert measures.psi(empty, empty) is None
    assert measures.rank_correlation(empty) is None
    assert measures.precision_recall(0, 0, 0) == (None, None)
    assert measures.share_quantiles(empty, (0.5,)) == [None]
