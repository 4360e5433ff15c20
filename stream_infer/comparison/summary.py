"""All that is known of the comparisons of a ledger, as plain values: what pages, report and JSON are made of."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from stream_infer.comparison.figures import brief, distribution, figures
from stream_infer.comparison.ledger import Windows as Spans
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.segments import ALL
from stream_infer.comparison.statistics import Statistics
from stream_infer.comparison.verdict import Criteria, Evidence, Verdict, judge

__all__ = ["moment", "summary", "verdicts"]

_ENTITIES_SHOWN: Final = 50

Windows = dict[tuple[Versions, str], dict[int, Statistics]]


class Counted(Protocol):
    """What a ledger says, or two of them together."""

    windows: Spans

    def select(self, window: str) -> Windows:
        """What is kept of one kind of window."""


def summary(ledger: Counted, criteria: Criteria) -> dict[str, Any]:
    """Everything, by pair of versions, the pair with the most events first."""
    total, hours, minutes = (ledger.select(window) for window in ("total", "hour", "minute"))
    judged = verdicts(ledger, criteria)
    found = [
        _comparison(versions, judged[versions], total, hours, minutes)
        for versions, segment in total
        if segment == ALL
    ]
    found.sort(key=lambda one: -one["total"]["events"])
    return {
        "criteria": asdict(criteria) | {"block_s": ledger.windows.block_s},
        "comparisons": found,
    }


def verdicts(ledger: Counted, criteria: Criteria) -> dict[Versions, Verdict]:
    """Judge each pair of versions."""
    return {
        versions: judge(Evidence.of(blocks, ledger.windows.span_ms("block")), criteria)
        for (versions, _), blocks in ledger.select("block").items()
    }


def _comparison(
    versions: Versions, verdict: Verdict, total: Windows, hours: Windows, minutes: Windows
) -> dict[str, Any]:
    own = {segment: cells[0] for (of, segment), cells in total.items() if of == versions}
    every = own[ALL]
    names = every.names
    return {
        "shadow_id": versions.shadow_id,
        "primary": {"name": names.get(versions.primary, ""), "version": versions.primary},
        "shadow": {"name": names.get(versions.shadow, ""), "version": versions.shadow},
        "verdict": verdict.as_dict(),
        "first": None if every.first_ms is None else moment(every.first_ms),
        "last": None if every.last_ms is None else moment(every.last_ms),
        "total": figures(every),
        "distribution": distribution(every),
        "segments": _segments(own),
        "hours": _course(hours, versions),
        "minutes": _course(minutes, versions),
        "worst": [_event(one) for one in every.worst.as_list()],
    }


def _segments(own: dict[str, Statistics]) -> list[dict[str, Any]]:
    """Rules, then the entities with the most flips."""
    rules = [name for name in sorted(own) if name.startswith("rule:")]
    entities = sorted(
        (name for name in own if name.startswith("entity:")),
        key=lambda name: (-int(own[name].flips[0, 1] + own[name].flips[1, 0]), name),
    )
    return [{"segment": name} | figures(own[name]) for name in (*rules, *entities[:_ENTITIES_SHOWN])]


def _course(windows: Windows, versions: Versions) -> dict[str, list[dict[str, Any]]]:
    """Each segment's windows in the order of time."""
    return {
        segment: [{"start": moment(start)} | brief(one) for start, one in cells.items()]
        for (of, segment), cells in windows.items()
        if of == versions
    }


def _event(plain: dict[str, Any]) -> dict[str, Any]:
    features = {
        side: [{"feature": name, "share": share} for name, share in plain[side]]
        for side in ("primary_features", "shadow_features")
    }
    finite = {
        name: plain[name] if math.isfinite(plain[name]) else None
        for name in ("primary_threshold", "shadow_threshold")
    }
    return {**plain, **features, **finite, "time": moment(plain["time_ms"])}


def moment(time_ms: int) -> str:
    """Return a time as text, in UTC; the number itself where it is outside the calendar."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(time_ms)
