"""Statistics as plain values: the same for pages, JSON and files, live and offline."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.buckets import value_of
from stream_infer.comparison.measures import (
    Counted,
    average_precision,
    kappa,
    ks,
    mcnemar,
    precision_recall,
    psi,
    rank_correlation,
    share_quantiles,
    wilson,
)
from stream_infer.comparison.statistics import Count, Kind, Statistics

__all__ = ["brief", "distribution", "figures"]

_SPREAD: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_LATENCY: Final = (0.5, 0.9, 0.99)
_BARS: Final = 48
_NARROW: Final = 0.02
_VERDICTS: Final = ("both_normal", "only_shadow", "only_primary", "both_anomaly")


def figures(statistics: Statistics) -> dict[str, Any]:
    """All measures of some statistics; those that do not exist are None."""
    tally = statistics.tally
    return brief(statistics) | {
        "primary_only": statistics.count(Count.PRIMARY_ONLY),
        "shadow_only": statistics.count(Count.SHADOW_ONLY),
        "neither": statistics.count(Count.NEITHER),
        "errors": [
            {"side": side, "error": error, "events": count}
            for (side, error), count in sorted(statistics.errors.items())
        ],
        "first_ms": statistics.first_ms,
        "last_ms": statistics.last_ms,
        "kappa": kappa(statistics.flips),
        "psi": _of_both(tally, psi),
        "ks": _of_both(tally, ks),
        "rank_correlation": rank_correlation(tally.kind(Kind.JOINT)),
        "difference": _quantiles(tally.kind(Kind.DIFFERENCE), _SPREAD),
        "score": {
            side: _quantiles(tally.kind(kind), _SPREAD)
            for side, kind in (("primary", Kind.PRIMARY_SCORE), ("shadow", Kind.SHADOW_SCORE))
        },
        "latency_ms": {
            side: _quantiles(tally.kind(kind), _LATENCY)
            for side, kind in (("primary", Kind.PRIMARY_LATENCY), ("shadow", Kind.SHADOW_LATENCY))
        },
        "labels": _labels(statistics),
    }


def brief(statistics: Statistics) -> dict[str, Any]:
    """The measures that a line of a table or a point of a curve needs."""
    events, both = statistics.count(Count.EVENTS), statistics.count(Count.BOTH)
    flips = statistics.flips
    alike = int(np.trace(flips))
    interval = wilson(alike, both)
    return {
        "events": events,
        "compared": both,
        "coverage": both / events if events else None,
        "agreement": alike / both if both else None,
        "agreement_low": interval[0] if interval else None,
        "agreement_high": interval[1] if interval else None,
        "flips": dict(zip(_VERDICTS, flips.ravel().tolist(), strict=True)),
        "anomaly_rate": {
            "primary": int(flips[1].sum()) / both if both else None,
            "shadow": int(flips[:, 1].sum()) / both if both else None,
        },
        "difference_median": share_quantiles(statistics.tally.kind(Kind.DIFFERENCE), (0.5,))[0],
    }


def distribution(statistics: Statistics) -> dict[str, Any]:
    """Shares of both models' scores relative to their thresholds, in bars of equal width on a logarithmic scale.

    ``edges`` has one more than the bars; what is beyond them is in the first and the last bar.
    """
    sides = [statistics.tally.kind(kind) for kind in (Kind.PRIMARY_RATIO, Kind.SHADOW_RATIO)]
    positive = [(codes[codes > 0], counts[codes > 0]) for codes, counts in sides]
    if not all(len(codes) for codes, _ in positive):
        return {"edges": [], "primary": [], "shadow": []}
    lows = [_share(side, 0.001) for side in positive]
    highs = [_share(side, 0.999) for side in positive]
    low, high = min(*lows, 1 - _NARROW), max(*highs, 1 + _NARROW)
    edges = np.exp(np.linspace(np.log(low), np.log(high), _BARS + 1))
    bars = []
    for codes, counts in sides:
        place = np.clip(np.searchsorted(edges, value_of(codes), side="right") - 1, 0, _BARS - 1)
        bars.append((np.bincount(place, counts, minlength=_BARS) / counts.sum()).tolist())
    return {"edges": edges.tolist(), "primary": bars[0], "shadow": bars[1]}


def _share(counted: Counted, share: float) -> float:
    found = share_quantiles(counted, (share,))[0]
    return 1.0 if found is None else found


def _of_both(tally: Any, measure: Any) -> dict[str, float | None]:
    """Hold the two models' scores, and their scores relative to the thresholds, against each other."""
    return {
        "score": measure(tally.kind(Kind.PRIMARY_SCORE), tally.kind(Kind.SHADOW_SCORE)),
        "relative": measure(tally.kind(Kind.PRIMARY_RATIO), tally.kind(Kind.SHADOW_RATIO)),
    }


def _quantiles(counted: Counted, shares: tuple[float, ...]) -> dict[str, float | None]:
    return dict(zip((f"p{share * 100:g}" for share in shares), share_quantiles(counted, shares), strict=True))


def _labels(statistics: Statistics) -> dict[str, Any] | None:
    counts = statistics.labelled
    if not counts.sum():
        return None
    tally = statistics.tally
    only_primary = int(counts[1, 1, 0] + counts[0, 0, 1])
    only_shadow = int(counts[1, 0, 1] + counts[0, 1, 0])
    return {
        "events": int(counts.sum()),
        "anomalies": int(counts[1].sum()),
        "only_primary_right": only_primary,
        "only_shadow_right": only_shadow,
        "mcnemar_p": mcnemar(only_primary, only_shadow),
        "primary": _quality(
            counts.sum(axis=2), tally.kind(Kind.PRIMARY_NORMAL), tally.kind(Kind.PRIMARY_ANOMALY)
        ),
        "shadow": _quality(
            counts.sum(axis=1), tally.kind(Kind.SHADOW_NORMAL), tally.kind(Kind.SHADOW_ANOMALY)
        ),
    }


def _quality(counts: NDArray[np.int64], normal: Counted, anomaly: Counted) -> dict[str, Any]:
    """Measures of one model; ``counts`` (2, 2): label, verdict."""
    found, false, missed = int(counts[1, 1]), int(counts[0, 1]), int(counts[1, 0])
    precision, recall = precision_recall(found, false, missed)
    return {
        "found": found,
        "false_alarms": false,
        "missed": missed,
        "precision": precision,
        "recall": recall,
        "auc_pr": average_precision(normal, anomaly),
    }
