"""The events that two models differ most about: a bounded list, the same in any order and grouping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

import numpy as np

from stream_infer.comparison.pairs import Pairs, relative

__all__ = ["Disagreement", "Worst"]

_CAPACITY: Final = 20
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One event. ``size`` is the distance of the two scores, each relative to its own threshold."""

    size: float
    flipped: bool
    entity: str
    time_ms: int
    event_id: str
    partition: int
    offset: int
    primary_score: float
    primary_threshold: float
    shadow_score: float
    shadow_threshold: float
    label: int
    primary_features: tuple[tuple[str, float], ...]
    shadow_features: tuple[tuple[str, float], ...]

    @property
    def rank(self) -> tuple[bool, float, int, int]:
        """What is worse is greater; never equal for two events."""
        return self.flipped, self.size, -self.partition, -self.offset

    @property
    def group(self) -> tuple[str, int]:
        """An entity's hour: one incident would fill the list otherwise."""
        return self.entity, self.time_ms // _HOUR_MS


@dataclass
class Worst:
    """The worst event of each of the worst groups. Flips come before mere differences of scores."""

    events: dict[tuple[str, int], Disagreement] = field(default_factory=dict)

    def add(self, pairs: Pairs) -> None:
        """Take pairs into account."""
        both = np.flatnonzero(pairs.both)
        if not len(both):
            return
        primary = relative(pairs.primary_score[both], pairs.primary_threshold[both])
        shadow = relative(pairs.shadow_score[both], pairs.shadow_threshold[both])
        size = np.abs(shadow - primary)
        flipped = pairs.primary_anomaly[both] != pairs.shadow_anomaly[both]
        least_flipped, least_size = self._least()
        same = flipped == least_flipped
        close = (same & (size >= least_size)) | (flipped & ~same)
        taken: set[tuple[str, int]] = set()
        order = np.lexsort((pairs.offset[both], pairs.partition[both], -size, ~flipped))
        for at in order[close[order]].tolist():
            row = int(both[at])
            group = (pairs.entity[pairs.entity_code[row]], int(pairs.time_ms[row]) // _HOUR_MS)
            if group in taken:
                continue
            taken.add(group)
            self._take(_disagreement(pairs, row, float(size[at]), bool(flipped[at])))
            if len(taken) >= _CAPACITY:
                break
        self._trim()

    def merge(self, other: Worst) -> None:
        """Take another's events into account."""
        for event in other.events.values():
            self._take(event)
        self._trim()

    def relabel(self, label_of: Callable[[Disagreement], int]) -> None:
        """Give each event the label that is known of it now."""
        self.events = {group: replace(event, label=label_of(event)) for group, event in self.events.items()}

    @property
    def ranked(self) -> list[Disagreement]:
        """The events, worst first."""
        return sorted(self.events.values(), key=lambda event: event.rank, reverse=True)

    def as_list(self) -> list[dict[str, Any]]:
        """Plain values, for JSON, worst first."""
        return [asdict(event) for event in self.ranked]

    @classmethod
    def of_list(cls, content: list[dict[str, Any]]) -> Self:
        """Read what ``as_list`` gave."""
        worst = cls()
        for plain in content:
            features = {
                side: tuple((str(name), float(share)) for name, share in plain[side])
                for side in ("primary_features", "shadow_features")
            }
            worst._take(Disagreement(**{**plain, **features}))
        return worst

    def _take(self, event: Disagreement) -> None:
        known = self.events.get(event.group)
        if known is None or event.rank > known.rank:
            self.events[event.group] = event

    def _least(self) -> tuple[bool, float]:
        """What an event must reach to have a place."""
        if len(self.events) < _CAPACITY:
            return False, 0.0
        least = min(self.events.values(), key=lambda event: event.rank)
        return least.flipped, least.size

    def _trim(self) -> None:
        for event in self.ranked[_CAPACITY:]:
            del self.events[event.group]


def _disagreement(pairs: Pairs, row: int, size: float, flipped: bool) -> Disagreement:  # noqa: FBT001
    primary, shadow = pairs.contributions(row)
    return Disagreement(
        size=size,
        flipped=flipped,
        entity=pairs.entity[pairs.entity_code[row]],
        time_ms=int(pairs.time_ms[row]),
        event_id=str(pairs.event_id[row]),
        partition=int(pairs.partition[row]),
        offset=int(pairs.offset[row]),
        primary_score=float(pairs.primary_score[row]),
        primary_threshold=float(pairs.primary_threshold[row]),
        shadow_score=float(pairs.shadow_score[row]),
        shadow_threshold=float(pairs.shadow_threshold[row]),
        label=int(pairs.label[row]),
        primary_features=tuple((name, round(float(share), 4)) for name, share in primary),
        shadow_features=tuple((name, round(float(share), 4)) for name, share in shadow),
    )
