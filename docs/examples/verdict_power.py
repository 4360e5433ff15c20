"""How much evidence a real difference takes: the tables of docs/shadow.md, from seeded simulations.

python docs/examples/verdict_power.py
"""

import math

import numpy as np

from stream_infer.comparison.sequential import confidence_sequence, log_wealth

RUNS, BLOCKS, ALPHA = 200, 4000, 0.05


def first(decided):
    """Median and 90th percentile of the first true column per row; rows without any count as more than all columns."""
    at = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, BLOCKS + 1)
    return [f"{value:,.0f}" if value <= BLOCKS else f"> {BLOCKS:,}" for value in np.percentile(at, [50, 90])]


def agreement(rng, share, bound=0.98, spread=60.0):
    """Blocks whose share of agreement varies (Beta), as incidents make it, until the interval leaves the bound."""
    values = rng.beta(share * spread, (1 - share) * spread, (RUNS, BLOCKS))
    # Two criteria are in force by default, and share alpha.
    low, high = confidence_sequence(values, ALPHA / 2)
    verdict = "promote" if share > bound else "keep"
    return verdict, first((low >= bound) if share > bound else (high < bound))


def labels(rng, wins_share):
    """Blocks that tell the two apart, the candidate winning a share of them."""
    wins = np.cumsum(rng.random((RUNS, BLOCKS)) < wins_share, axis=1)
    losses = np.arange(1, BLOCKS + 1) - wins
    return first(log_wealth(wins, losses) >= math.log(1 / ALPHA))


def main():
    """Print both tables in Markdown."""
    rng = np.random.default_rng(0)
    print("| true agreement | verdict | blocks, median | blocks, 90 % of runs |\n|---|---|---|---|")
    for share in (0.998, 0.995, 0.99, 0.97, 0.95, 0.9):
        verdict, (median, most) = agreement(rng, share)
        print(f"| {share:.1%} | {verdict} | {median} | {most} |")
    print(
        "\n| candidate wins of the blocks that differ | blocks that differ, median | 90 % of runs |\n|---|---|---|"
    )
    for share in (0.55, 0.6, 0.7, 0.8, 0.9, 1.0):
        median, most = labels(rng, share)
        print(f"| {share:.0%} | {median} | {most} |")


if __name__ == "__main__":
    main()
