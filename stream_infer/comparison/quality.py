"""Measures that need the course of the scores, not just counts: VUS-PR, per entity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.comparison.pairs import Pairs, Versions, relative
from stream_infer.models.vus import auc_pr, vus_pr

__all__ = ["Courses"]

_Floats = NDArray[np.float64]


class Courses:
    """Keeps the labelled scores of each entity; ``quality`` measures them. Memory grows with them: offline only."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Versions, str], list[tuple[NDArray[Any], ...]]] = {}

    def add(self, pairs: Pairs) -> None:
        """Take labelled pairs into account; those without a label or without both scores are left out."""
        rows = np.flatnonzero(pairs.both & (pairs.label >= 0))
        codes = np.stack((pairs.versions_code[rows], pairs.entity_code[rows]))
        ratios = [
            relative(score[rows], threshold[rows])
            for score, threshold in (
                (pairs.primary_score, pairs.primary_threshold),
                (pairs.shadow_score, pairs.shadow_threshold),
            )
        ]
        columns: tuple[NDArray[Any], ...] = (pairs.time_ms[rows], pairs.label[rows], *ratios)
        for versions, entity in np.unique(codes, axis=1).T.tolist():
            own = (codes[0] == versions) & (codes[1] == entity)
            key = pairs.versions[versions], pairs.entity[entity]
            self._parts.setdefault(key, []).append(tuple(column[own] for column in columns))

    def quality(self, versions: Versions) -> dict[str, Any] | None:
        """Means over the entities whose labels hold an anomaly; None where there is none.

        VUS-PR and AUC-PR of score over threshold in the order of time, as ``stream-infer evaluate`` has them.
        """
        found: dict[str, list[float]] = {}
        measures: tuple[tuple[str, Callable[[_Floats, NDArray[Any]], float]], ...] = (
            ("vus_pr", vus_pr),
            ("auc_pr", auc_pr),
        )
        for (of, _), parts in sorted(self._parts.items()):
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
            time_ms, label, *sides = columns
            if of != versions or not (label > 0).any():
                continue
            order = np.argsort(time_ms, kind="stable")
            for side, ratio in zip(("primary", "shadow"), sides, strict=True):
                for name, measure in measures:
                    found.setdefault(f"{side}_{name}", []).append(measure(ratio[order], label[order]))
        if not found:
            return None
        entities = len(next(iter(found.values())))
        return {name: float(np.mean(values)) for name, values in found.items()} | {"entities": entities}
