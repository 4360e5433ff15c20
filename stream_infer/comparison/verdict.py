"""What the evidence so far says of a candidate: undecided, promote, or keep the primary.

The unit of evidence is a block: all events of some minutes (``compare.block_s``) together, over all entities.
Events of one entity depend on each other, an anomaly is a run of them, and an incident shows on many entities at once;
a block as long as an alert makes one observation of all that. Each criterion is a bet or an interval that
holds at all times at once (``sequential``), with the error level shared out among them. So whoever looks every minute,
and stops when a verdict comes, is wrong with probability alpha at most:

- ``promote`` where every criterion is met for certain, ``keep`` where one is broken for certain, else ``undecided``;
- ``agreement``: the mean over blocks of the share of events that both judge alike is at least ``min_agreement``;
- ``anomaly rate``: the mean over blocks of the candidate's share of anomalies minus the primary's is within
  ``max_rate_change``;
- ``latency``: in more than half of the blocks the candidate's mean latency is at most ``max_latency_ratio`` times the
  primary's;
- ``labels``: of the blocks in which one of the two got more labelled events right, more than half are the
  candidate's. It takes the place of the first two: with labels the question is who is right, without them only
  who is like the other.

Of blocks that count as a win or a loss no two are adjacent: what lasts over the end of a block counts once.
A verdict speaks of the evidence there is; it may change when what comes later says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.sequential import confidence_sequence, log_wealth
from stream_infer.comparison.statistics import Count, Kind, Statistics
from stream_infer.comparison.tally import key

__all__ = ["KEEP", "PROMOTE", "UNDECIDED", "Criteria", "Evidence", "Finding", "Verdict", "judge"]

UNDECIDED: Final = "undecided"
PROMOTE: Final = "promote"
KEEP: Final = "keep"

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Criteria:
    """Fixed before the start. ``alpha`` bounds the probability that a wrong verdict is ever given.

    None leaves a criterion out.
    """

    minimum_events: int = 10_000
    min_agreement: float | None = 0.98
    max_rate_change: float | None = 0.01
    max_latency_ratio: float | None = None
    labelled: bool = False
    alpha: float = 0.05

    @property
    def names(self) -> tuple[str, ...]:
        """The criteria in force."""
        likeness = (("agreement", self.min_agreement), ("anomaly rate", self.max_rate_change))
        names = ["labels"] if self.labelled else [name for name, bound in likeness if bound is not None]
        return tuple(names) + (() if self.max_latency_ratio is None else ("latency",))


@dataclass(frozen=True, slots=True)
class Finding:
    """What one criterion says: ``met`` is None while it may be either.

    ``low`` to ``high`` holds the truth at all times, where there is such an interval.
    """

    criterion: str
    met: bool | None
    value: float | None
    low: float | None
    high: float | None
    blocks: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``events`` and ``blocks`` are what it rests on; ``until_ms`` is where the newest of its blocks begins."""

    verdict: str
    reason: str
    events: int
    blocks: int
    until_ms: int | None
    alpha: float
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts per block, in the order of time: ``number`` (start over length), events with both scores, and so on."""

    number: _Ints
    start_ms: _Ints
    both: _Ints
    flips: NDArray[np.int64]
    wins: _Ints
    losses: _Ints
    latency_ms: NDArray[np.int64]

    @classmethod
    def of(cls, blocks: Mapping[int, Statistics], block_ms: int) -> Evidence:
        """Read closed blocks (start -> statistics). The newest is still being filled, so it is left out."""
        starts = sorted(blocks)[:-1]
        codes = [Count.BOTH, *(Count.FLIPS + code for code in range(4))]
        codes += [Count.LATENCIES, Count.PRIMARY_LATENCY_MS, Count.SHADOW_LATENCY_MS]
        wanted = [key(Kind.COUNT, int(code)) for code in codes]
        keys = np.array([*wanted, *(key(Kind.LABELLED, code) for code in range(8))], np.int64)
        counts = np.zeros((len(starts), len(keys)), np.int64)
        for row, start in enumerate(starts):
            tally = blocks[start].tally
            places = np.minimum(np.searchsorted(tally.keys, keys), max(0, len(tally.keys) - 1))
            if len(tally.keys):
                counts[row] = np.where(tally.keys[places] == keys, tally.counts[places], 0)
        labelled = counts[:, 8:].reshape(-1, 2, 2, 2)
        start_ms = np.array(starts, np.int64)
        return cls(
            number=start_ms // block_ms,
            start_ms=start_ms,
            both=counts[:, 0],
            flips=counts[:, 1:5].reshape(-1, 2, 2),
            wins=labelled[:, 1, 0, 1] + labelled[:, 0, 1, 0],
            losses=labelled[:, 1, 1, 0] + labelled[:, 0, 0, 1],
            latency_ms=counts[:, 5:8],
        )


def judge(evidence: Evidence, criteria: Criteria) -> Verdict:
    """Weigh the evidence. A pure function: whoever has the same blocks has the same verdict."""
    names = criteria.names
    alpha = criteria.alpha / max(1, len(names))
    weigh = {"agreement": _agreement, "anomaly rate": _anomaly_rate, "latency": _latency, "labels": _labels}
    findings = tuple(weigh[name](evidence, criteria, alpha) for name in names)
    events = int(evidence.both.sum())
    verdict, reason = _weighed(findings, events, criteria)
    counted = np.flatnonzero(evidence.both)
    until_ms = int(evidence.start_ms[counted[-1]]) if len(counted) else None
    return Verdict(verdict, reason, events, len(counted), until_ms, criteria.alpha, findings)


def _weighed(findings: tuple[Finding, ...], events: int, criteria: Criteria) -> tuple[str, str]:
    if not findings:
        return UNDECIDED, "no criterion is set"
    if events < criteria.minimum_events:
        return (
            UNDECIDED,
            f"{events:,} of at least {criteria.minimum_events:,} events are compared in full blocks",
        )
    broken = [finding.text for finding in findings if finding.met is False]
    if broken:
        return KEEP, "; ".join(broken)
    unsure = [finding.text for finding in findings if finding.met is None]
    if unsure:
        return UNDECIDED, "; ".join(unsure)
    return PROMOTE, "; ".join(finding.text for finding in findings)


def _agreement(evidence: Evidence, criteria: Criteria, alpha: float) -> Finding:
    bound = criteria.min_agreement or 0.0
    some = evidence.both > 0
    alike = evidence.flips[some, 0, 0] + evidence.flips[some, 1, 1]
    low, high = _interval(alike / evidence.both[some], alpha)
    value = float(np.mean(alike / evidence.both[some])) if some.any() else None
    met = None if low is None or high is None else True if low >= bound else False if high < bound else None
    said = (
        "no events yet" if value is None else f"{value:.2%} on average, {low:.2%} to {high:.2%} for certain"
    )
    return Finding(
        "agreement", met, value, low, high, int(some.sum()), f"agreement {_is(met)} {bound:.2%}: {said}"
    )


def _anomaly_rate(evidence: Evidence, criteria: Criteria, alpha: float) -> Finding:
    bound = criteria.max_rate_change or 0.0
    some = evidence.both > 0
    more = (evidence.flips[some, 0, 1] - evidence.flips[some, 1, 0]) / evidence.both[some]
    low, high = _interval((more + 1) / 2, alpha)
    low, high = (None, None) if low is None or high is None else (2 * low - 1, 2 * high - 1)
    value = float(np.mean(more)) if some.any() else None
    met = None
    if low is not None and high is not None:
        met = True if max(-low, high) <= bound else False if low > bound or high < -bound else None
    said = (
        "no events yet"
        if value is None
        else f"{value:+.2%} on average, {low:+.2%} to {high:+.2%} for certain"
    )
    words = {True: "within", False: "beyond", None: "not yet known to be within"}[met]
    text = f"change of the anomaly rate is {words} {bound:.2%}: {said}"
    return Finding("anomaly rate", met, value, low, high, int(some.sum()), text)


def _latency(evidence: Evidence, criteria: Criteria, alpha: float) -> Finding:
    bound = criteria.max_latency_ratio or 0.0
    known = evidence.latency_ms[:, 0] > 0
    primary, shadow = evidence.latency_ms[known, 1], evidence.latency_ms[known, 2]
    ratio = shadow / np.maximum(primary, 1)
    signs = np.zeros(len(evidence.number), np.int64)
    signs[known] = np.where(ratio <= bound, 1, -1)
    wins, losses = _apart(evidence.number, signs)
    met = _decided(wins, losses, alpha)
    value = float(np.median(ratio)) if known.any() else None
    said = (
        "no latencies yet"
        if value is None
        else f"median over blocks {value:.2f} times, {wins} of {wins + losses} blocks are within"
    )
    words = {True: "within", False: "beyond", None: "not yet known to be within"}[met]
    return Finding(
        "latency",
        met,
        value,
        None,
        None,
        wins + losses,
        f"latency is {words} {bound:g} times the primary's: {said}",
    )


def _labels(evidence: Evidence, _: Criteria, alpha: float) -> Finding:
    wins, losses = _apart(evidence.number, np.sign(evidence.wins - evidence.losses))
    met = _decided(wins, losses, alpha)
    share = wins / (wins + losses) if wins + losses else None
    how = {
        True: "the candidate is right more often",
        False: "the primary is right more often",
        None: "neither is ahead",
    }
    said = f"{how[met]}: of {wins + losses} blocks that tell them apart the candidate wins {wins}"
    return Finding("labels", met, share, None, None, wins + losses, said)


def _interval(values: _Floats, alpha: float) -> tuple[float | None, float | None]:
    if not len(values):
        return None, None
    low, high = confidence_sequence(values, alpha)
    return float(low[-1]), float(high[-1])


def _apart(number: _Ints, signs: _Ints) -> tuple[int, int]:
    """Count wins and losses; of adjacent blocks that are one or the other, every second is passed over."""
    wins = losses = 0
    last = -2
    told = np.flatnonzero(signs)
    for block, sign in zip(number[told].tolist(), signs[told].tolist(), strict=True):
        if block - last >= 2:
            last = block
            wins += sign > 0
            losses += sign < 0
    return wins, losses


def _decided(wins: int, losses: int, alpha: float) -> bool | None:
    wealth = float(log_wealth(np.array([wins]), np.array([losses]))[0])
    return wins > losses if wealth >= math.log(1 / alpha) else None


def _is(met: bool | None) -> str:  # noqa: FBT001 (three values)
    return {True: "is at least", False: "is below", None: "is not yet known to be at least"}[met]
