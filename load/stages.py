"""What workers say of themselves between two readings of their /metrics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Stages", "stages_between", "worked_on"]

_EVENTS = "stream_infer_events_total"
_STAGE = re.compile(r'stream_infer_stage_seconds_total\{stage="(\w+)"\}')
_FIGURES = {
    "transactions": "stream_infer_commits_total",
    "anomalies": "stream_infer_anomalies_total",
    "states_written": "stream_infer_state_flushed_total",
}


@dataclass(frozen=True)
class Stages:
    """``us_per_event``: microseconds of the owner thread in each stage. ``counts``: transactions, anomalies, states."""

    events: float = 0.0
    us_per_event: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Counts, and the batch: the same for all repeats of a case, whatever it was measured from."""
        return dict(self.counts)


def worked_on(readings: Sequence[Mapping[str, float]]) -> float:
    """Events that workers had worked on, committed or not; 0 of rivals, which do not say."""
    return sum(reading.get(_EVENTS, 0.0) for reading in readings)


def stages_between(before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]) -> Stages:
    """The sum over workers of what their metrics rose by; nothing where there are none (a rival)."""
    rise: Counter[str] = Counter()
    for one, other in zip(before, after, strict=True):
        for name, value in other.items():
            rise[name] += value - one.get(name, 0.0)
    if not rise:
        return Stages()
    events = rise[_EVENTS]
    stages = {found[1]: name for name in rise if events and (found := _STAGE.fullmatch(name))}
    return Stages(
        events,
        {stage: rise[name] / events * 1e6 for stage, name in stages.items()},
        {figure: rise[name] for figure, name in _FIGURES.items()},
    )
