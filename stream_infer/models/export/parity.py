"""How far two models' scores of the same rows lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError

__all__ = ["Bounds", "Parity"]


@dataclass(frozen=True)
class Bounds:
    """What an export may differ by: ``difference`` of a threshold in any row, ``flips`` as a share of the rows."""

    difference: float
    flips: float


@dataclass(frozen=True)
class Parity:
    """Scores of one model held against another's.

    ``largest_difference`` and ``usual_difference`` (the median) are in thresholds: 0.01 is a hundredth of what makes an
    anomaly. ``rank_agreement`` is Spearman's correlation of the scores. ``flips`` rows are an anomaly for one only.
    """

    rows: int
    largest_difference: float
    usual_difference: float
    rank_agreement: float
    flips: int

    @classmethod
    def of(
        cls, source: NDArray[np.float64], target: NDArray[np.float64], threshold: NDArray[np.float64]
    ) -> Parity:
        """Compare the scores (n) of two models under one threshold (n). NaN on one side only is infinitely far."""
        scored = ~(np.isnan(source) & np.isnan(target))
        a, b, limit = source[scored], target[scored], threshold[scored]
        if not len(a):
            raise ModelError(
                "no row has a score to compare. Cure: give --data with rows of the model's features"
            )
        # Where both scores are over the threshold, what counts is their ratio.
        apart = np.abs(a - b) / np.where(np.minimum(a, b) > limit, np.maximum(a, b), limit)
        apart[np.isnan(apart)] = np.inf
        return cls(
            rows=len(a),
            largest_difference=float(apart.max()),
            usual_difference=float(np.median(apart)),
            rank_agreement=_spearman(a, b),
            flips=int(np.count_nonzero((a >= limit) != (b >= limit))),
        )

    def __str__(self) -> str:
        return (
            f"{self.rows} rows: scores differ by {self.usual_difference:.2g} of a threshold, at most "
            f"{self.largest_difference:.2g}; rank agreement {self.rank_agreement:.6f}; {self.flips} flips"
        )

    def check(self, bounds: Bounds) -> None:
        """Raise ModelError when a bound is passed."""
        share = self.flips / self.rows
        if self.largest_difference > bounds.difference:
            raise ModelError(
                f"refused: scores differ by up to {self.largest_difference:.3g} of a threshold, allowed are "
                f"{bounds.difference:g}. Cure: another target, or a wider --max-difference"
            )
        if share > bounds.flips:
            raise ModelError(
                f"refused: {self.flips} of {self.rows} rows ({share:.3%}) change sides of the threshold, allowed are "
                f"{bounds.flips:.3%}. Cure: another target, or a wider --max-flips"
            )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's correlation of the ranks; rows without a score rank last."""
    if len(a) < 2:
        return 1.0
    ranks = [np.argsort(np.argsort(scores, kind="stable"), kind="stable") for scores in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
