"""Comparisons in columns: what two models said of the same events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Contributions", "Pairs", "Versions", "relative"]

_Floats = NDArray[np.float64]
Contributions = tuple[Sequence[tuple[str, float]], Sequence[tuple[str, float]]]
"""Features and their shares of the score, for the primary and the shadow."""


class Versions(NamedTuple):
    """Which two are compared: statistics are kept apart for each such pair."""

    shadow_id: str
    primary: str
    shadow: str


@dataclass(slots=True)
class Pairs:
    """Rows of the comparison topic, in offset order per partition.

    ``partition`` and ``offset`` are those in the comparison topic. ``versions`` and ``entity`` are tables,
    ``versions_code`` and ``entity_code`` index them. Scores and thresholds are NaN, verdicts (``primary_anomaly``)
    -1 where a side has none; a latency is NaN where unknown; ``label`` is -1 where nobody said. The errors name the
    class of what a side failed of, ``""`` where it did not. ``names`` has the model's name for some versions.
    ``contributions(row)`` looks the features up; it may be slow.
    """

    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    event_id: NDArray[np.object_]
    time_ms: NDArray[np.int64]
    entity: tuple[str, ...]
    entity_code: NDArray[np.int64]
    versions: tuple[Versions, ...]
    versions_code: NDArray[np.int64]
    primary_score: _Floats
    primary_threshold: _Floats
    primary_anomaly: NDArray[np.int8]
    primary_latency_ms: _Floats
    primary_error: NDArray[np.object_]
    shadow_score: _Floats
    shadow_threshold: _Floats
    shadow_anomaly: NDArray[np.int8]
    shadow_latency_ms: _Floats
    shadow_error: NDArray[np.object_]
    label: NDArray[np.int8]
    names: dict[str, str]
    contributions: Callable[[int], Contributions]

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def both(self) -> NDArray[np.bool_]:
        """Whether both sides have a score."""
        return np.isfinite(self.primary_score) & np.isfinite(self.shadow_score)

    def take(self, rows: NDArray[Any]) -> Self:
        """The given rows (indices or a mask)."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        look_up = self.contributions
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value[at] if isinstance(value, np.ndarray) else value
        values["contributions"] = lambda row: look_up(int(at[row]))
        return type(self)(**values)


def relative(score: _Floats, threshold: _Floats) -> _Floats:
    """Score over threshold: 1 is where an anomaly begins. The score itself where the threshold is not positive."""
    good = np.isfinite(threshold) & (threshold > 0)
    return np.divide(score, threshold, out=score.copy(), where=good)
