"""Whoever looks after every observation, for ever, is wrong no more often than alpha."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_infer.comparison.sequential import confidence_sequence, log_wealth
from stream_infer.comparison.verdict import Criteria, Evidence, judge

RUNS = 2000
ALPHA = 0.05


def within(rate: float, alpha: float = ALPHA, runs: int = RUNS) -> bool:
    """Whether a rate of errors is no more than alpha allows, by three standard deviations of a simulation."""
    return rate <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.parametrize("mean", [0.5, 0.99])
def test_the_interval_holds_the_mean_at_all_times(mean):
    rng = np.random.default_rng(0)
    values = rng.binomial(20, mean, (RUNS, 1000)) / 20

    low, high = confidence_sequence(values, ALPHA)

    assert within(((low > mean) | (high < mean)).any(axis=1).mean())
    assert (high - low)[:, -1].mean() < 0.06


def test_the_interval_holds_the_long_run_mean_of_values_that_hang_together():
    """Incidents that last several blocks: a two-state chain, its share of bad blocks 5 %, runs of 1.5 on average."""
    rng = np.random.default_rng(1)
    bad = rng.random(RUNS) < 0.05
    values = np.empty((RUNS, 1000))
    stay, begin = 1 / 3, (2 / 3) * 0.05 / 0.95
    for block in range(1000):
        bad = rng.random(RUNS) < np.where(bad, stay, begin)
        values[:, block] = np.where(bad, rng.beta(5, 5, RUNS), rng.beta(200, 1, RUNS))
    mean = 0.05 * 0.5 + 0.95 * 200 / 201

    low, high = confidence_sequence(values, ALPHA)

    assert within(((low > mean) | (high < mean)).any(axis=1).mean())


def test_the_bet_against_a_fair_coin_is_won_no_more_often_than_alpha():
    rng = np.random.default_rng(2)
    wins = np.cumsum(rng.random((RUNS, 2000)) < 0.5, axis=1)
    losses = np.arange(1, 2001) - wins

    won = (log_wealth(wins, losses) >= math.log(1 / ALPHA)).any(axis=1).mean()

    assert within(won)
    assert won > ALPHA / 10  # a test that could not fail would be no test


def test_the_bet_is_the_beta_binomial_mixture():
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    for wins, losses in ((0, 0), (3, 1), (10, 20), (200, 3)):
        exact = (wins + losses) * math.log(2) + log_beta(wins + 0.5, losses + 0.5) - log_beta(0.5, 0.5)
        assert log_wealth(np.array([wins]), np.array([losses]))[0] == pytest.approx(exact)


def evidence(wins: np.ndarray, losses: np.ndarray, both: int = 100) -> Evidence:
    """Blocks of labelled events in which one of the two is right alone."""
    count = len(wins)
    flips = np.zeros((count, 2, 2), np.int64)
    flips[:, 0, 1], flips[:, 1, 0] = wins, losses
    flips[:, 0, 0] = both - wins - losses
    number = np.arange(count)
    full = np.full(count, both)
    return Evidence(number, number * 600_000, full, flips, wins, losses, np.zeros((count, 3), np.int64))


def first_verdict(wins: np.ndarray, losses: np.ndarray, criteria: Criteria) -> tuple[str, int]:
    """The first verdict that somebody gets who looks after every block, and when."""
    whole = evidence(wins, losses)
    for end in range(10, len(wins) + 1):
        part = Evidence(*(getattr(whole, name)[:end] for name in Evidence.__slots__))
        found = judge(part, criteria).verdict
        if found != "undecided":
            return found, end
    return "undecided", len(wins)


def chained(rng: np.random.Generator, shape: tuple[int, int], better: float) -> tuple[np.ndarray, np.ndarray]:
    """Wins and losses per block: an event in every eighth block that lasts into the next half of the time."""
    begins = rng.random(shape) < 0.125
    side = np.where(rng.random(shape) < better, 1, -1) * begins
    lasts = rng.random(shape) < 0.5
    carried = np.where(side == 0, np.roll(side * lasts, 1, axis=1), side)
    size = rng.integers(1, 6, shape)
    return np.where(carried > 0, size, 0), np.where(carried < 0, size, 0)


def test_an_equal_model_gets_a_verdict_no_more_often_than_alpha():
    """2,000 runs, peeking after every block, events that last over the end of a block."""
    rng = np.random.default_rng(3)
    wins, losses = chained(rng, (RUNS, 400), 0.5)
    signs = np.sign(wins - losses)
    # What verdict._apart counts, for all runs at once.
    taken, last = np.zeros(signs.shape, np.int64), np.full(RUNS, -2)
    for block in range(signs.shape[1]):
        use = (signs[:, block] != 0) & (block - last >= 2)
        taken[use, block] = signs[use, block]
        last[use] = block
    wealth = log_wealth(np.cumsum(taken > 0, axis=1), np.cumsum(taken < 0, axis=1))
    wrong = (wealth >= math.log(1 / ALPHA)).any(axis=1)

    assert within(wrong.mean())

    criteria = Criteria(minimum_events=1, labelled=True, alpha=ALPHA)
    for run in (0, 1, *np.flatnonzero(wrong)[:3]):
        assert (first_verdict(wins[run], losses[run], criteria)[0] != "undecided") == wrong[run]


def test_two_hundred_equal_models_by_agreement_alone_at_the_bound():
    """Whose agreement is just the bound: promote and keep are both wrong, and rare."""
    rng = np.random.default_rng(4)
    criteria = Criteria(minimum_events=1, min_agreement=0.97, max_rate_change=None, alpha=ALPHA)
    wrong = 0
    for _ in range(200):
        differ = rng.binomial(100, 0.03, 400)
        wins = rng.binomial(differ, 0.5)
        low, high = confidence_sequence(1 - differ / 100, ALPHA)
        decided = (low >= 0.97) | (high < 0.97)
        wrong += decided.any()
        assert judge(evidence(wins, differ - wins), criteria).verdict == (
            "undecided" if not decided[-1] else "promote" if low[-1] >= 0.97 else "keep"
        )
    assert within(wrong / 200, runs=200)


@pytest.mark.parametrize(("better", "verdict"), [(0.85, "promote"), (0.15, "keep")])
def test_a_planted_difference_is_found(better, verdict):
    rng = np.random.default_rng(5)
    wins, losses = chained(rng, (60, 800), better)
    criteria = Criteria(minimum_events=1, labelled=True, alpha=ALPHA)

    found = [first_verdict(wins[run], losses[run], criteria) for run in range(60)]

    assert sum(one == verdict for one, _ in found) >= 58
    assert np.median([end for _, end in found]) < 300


def test_without_labels_a_likeness_is_promoted_and_a_difference_kept_out():
    rng = np.random.default_rng(6)
    criteria = Criteria(minimum_events=1000)
    alike = rng.binomial(100, 0.002, (2, 2500))
    noisy = rng.binomial(100, 0.06, 2500)

    assert judge(evidence(*alike), criteria).verdict == "promote"
    kept = judge(evidence(noisy, np.zeros_like(noisy)), criteria)
    assert kept.verdict == "keep"
    assert "agreement is below 98.00%" in kept.reason
    assert "anomaly rate is beyond 1.00%" in kept.reason
    few = judge(evidence(alike[0][:5], alike[1][:5]), criteria)
    assert (few.verdict, few.reason[:24]) == ("undecided", "500 of at least 1,000 ev")


def test_a_candidate_that_is_late_is_kept_out():
    count = 60
    latency = np.tile(np.array([[100, 2000, 9000]]), (count, 1))
    zero = np.zeros(count, np.int64)
    plain = evidence(zero, zero)
    slow = Evidence(plain.number, plain.start_ms, plain.both, plain.flips, zero, zero, latency)
    criteria = Criteria(minimum_events=1, min_agreement=0.5, max_rate_change=None, max_latency_ratio=3.0)

    assert judge(slow, criteria).verdict == "keep"
    assert "latency is beyond 3 times" in judge(slow, criteria).reason
    latency[:, 2] = 5000
    assert judge(slow, criteria).verdict == "promote"
