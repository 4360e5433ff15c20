"""Evidence that may be looked at as often as one likes: an interval and a bet, valid at all times at once.

Both hold with probability 1 - alpha over the whole, unending course, so that stopping when they please is no
cheating (unlike a p-value computed every minute).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["confidence_sequence", "log_wealth"]

_Floats = NDArray[np.float64]

_GREATEST_BET: Final = 0.75
_PRIOR: Final = 0.5


def confidence_sequence(values: _Floats, alpha: float) -> tuple[_Floats, _Floats]:
    """Lower and upper ends of an interval for the mean of values in [0, 1], after each value; along the last axis.

    The predictable plug-in empirical-Bernstein confidence sequence: Waudby-Smith and Ramdas, "Estimating means of
    bounded random variables by betting" (JRSS B 2023), theorem 2, with their plug-in (equations 14 and 15) and
    greatest bet 3/4. With probability 1 - alpha it holds the mean at every time at once, where the mean is that of the
    values' conditional expectations given what came before, weighted by the bets: no independence is needed, and
    nothing but [0, 1] is assumed of the values. It is exact in meaning where the mean does not drift.
    """
    count = values.shape[-1]
    if not count:
        return values.copy(), values.copy()
    times = np.arange(1, count + 1)
    mean = (0.5 + np.cumsum(values, axis=-1)) / (times + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2, axis=-1)) / (times + 1)
    # What a bet knows is what came before it.
    mean_before = np.concatenate((np.full_like(values[..., :1], 0.5), mean[..., :-1]), axis=-1)
    variance_before = np.concatenate((np.full_like(values[..., :1], 0.25), variance[..., :-1]), axis=-1)
    log_two_sides = np.log(2 / alpha)
    bets = np.minimum(np.sqrt(2 * log_two_sides / (variance_before * times * np.log1p(times))), _GREATEST_BET)
    spent = np.cumsum((values - mean_before) ** 2 * (-np.log1p(-bets) - bets), axis=-1)
    staked = np.cumsum(bets, axis=-1)
    centre = np.cumsum(bets * values, axis=-1) / staked
    margin = (log_two_sides + spent) / staked
    return np.clip(centre - margin, 0, 1), np.clip(centre + margin, 0, 1)


def log_wealth(wins: NDArray[np.int64], losses: NDArray[np.int64]) -> _Floats:
    """Logarithm of what a gambler has made of 1 who bets that the coin is unfair, after so many wins and losses.

    The Beta(1/2, 1/2) mixture over all biases (Robbins 1970; Howard et al., "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 2021, section 3.4 for the mixture): 2 ** n * B(w + 1/2, l + 1/2) /
    B(1/2, 1/2). For a coin that is fair, given all that came before, it is a martingale, so by Ville's inequality it
    ever reaches 1 / alpha with probability alpha at most: either side may win. It depends on the two numbers
    alone, not on their order.
    """
    most = int(np.max(wins + losses, initial=0)) + 1
    numbers = np.arange(1, most + 1, dtype=np.float64)
    half = np.concatenate(([0.0], np.cumsum(np.log(numbers - _PRIOR))))  # log gamma(k + 1/2) - log gamma(1/2)
    whole = np.concatenate(([0.0], np.cumsum(np.log(numbers))))  # log gamma(k + 1)
    wealth: _Floats = (wins + losses) * np.log(2) + half[wins] + half[losses] - whole[wins + losses]
    return wealth
