"""The arithmetic of window and judge in plain Python, row by row: what the kernels must equal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Columns, Text
from stream_infer.windows.layout import TOP, Layout
from stream_infer.windows.profiles import Profiles

__all__ = ["Difference", "Outcome", "Reference", "columns_of", "layout_of", "profiles_of"]


class Difference:
    """A small real model: how far the newest row is from the window's mean, per term at another scale."""

    def __init__(self, terms: int) -> None:
        self.terms = terms

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        # row by row, so that the batch a row stands in cannot change its last bit
        apart = np.stack([window[-1] - window.mean(axis=0) for window in windows])
        return np.stack([apart * np.float32(t + 1) for t in range(self.terms)], axis=1)


@dataclass
class Outcome:
    window: NDArray[np.float32]
    window_full: bool
    time_order: int
    score: float
    is_anomaly: bool
    shares: dict[int, float]


@dataclass
class _Entity:
    rows: list[list[float]] = field(default_factory=list)
    newest_ms: int = 0
    smoothed: list[list[float]] | None = None
    usual: list[list[float]] | None = None  # mean squares of the errors, where training never saw the entity
    judged: int = 0
    least: list[float] = field(default_factory=list)
    greatest: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    variance: list[float] = field(default_factory=list)
    calm: int | None = None  # None without an alert


class Reference:
    """Scores rows one by one."""

    def __init__(self, layout: Layout, profiles: Profiles, idle_ttl_s: float = 0) -> None:
        self.layout, self.profiles, self.idle_ttl_ms = layout, profiles, idle_ttl_s * 1000
        self.model = Difference(layout.terms)
        self.entities: dict[tuple[int, bytes], _Entity] = {}

    def row(self, partition: int, name: bytes, time_ms: int, x: NDArray[np.float64]) -> Outcome:
        entity = self.entities.setdefault((partition, name), _Entity())
        if entity.rows and self.idle_ttl_ms and time_ms - entity.newest_ms > self.idle_ttl_ms:
            entity = self.entities[partition, name] = _Entity()
        order = 0
        if entity.rows and time_ms <= entity.newest_ms:
            order = 2 if time_ms == entity.newest_ms else 1
        entity.newest_ms = max(entity.newest_ms, time_ms) if entity.rows else time_ms
        entity.rows.append(self._standardised(entity, name, x))
        rows = entity.rows[-self.layout.window :]
        rows = [entity.rows[0]] * (self.layout.window - len(rows)) + rows
        window = np.array(rows, np.float32)
        full = len(entity.rows) >= self.layout.window
        return Outcome(window, full, order, *self._judged(entity, self._number(name), window))

    def _number(self, name: bytes) -> int:
        names = self.profiles.names
        return names.index(name) if name in names else len(names)

    def _standardised(self, entity: _Entity, name: bytes, x: NDArray[np.float64]) -> list[float]:
        number = self._number(name)
        center, spread = self.profiles.center[number], self.profiles.spread[number]
        if number == len(self.profiles.names):
            center, spread = self._running(entity, x, center, spread)
        z = []
        for f, value in enumerate(x):
            if math.isnan(value):
                z.append(entity.rows[-1][f] if entity.rows else 0.0)
            else:
                z.append(float(np.float32(5 * math.asinh((value - center[f]) / (5 * spread[f])))))
        return z

    def _running(self, entity, x, fleet_center, fleet_spread):  # type: ignore[no-untyped-def]
        """Centre and spread before this row, which then enters the statistics."""
        if not entity.mean:
            entity.mean, entity.variance = list(fleet_center), [s * s for s in fleet_spread]
            entity.least, entity.greatest = [math.inf for _ in x], [-math.inf for _ in x]
        center, spread = list(entity.mean), []
        for f in range(len(x)):
            extent = entity.greatest[f] - entity.least[f]
            floor = min(fleet_spread[f], extent / 2)
            spread.append(max(math.sqrt(entity.variance[f]), floor) if extent > 0 else fleet_spread[f])
        rate = max(1 / (len(entity.rows) + 1 + 100), 1e-4)
        for f, value in enumerate(x):
            if math.isnan(value):
                continue
            apart = value - entity.mean[f]
            entity.mean[f] += rate * apart
            entity.variance[f] = (1 - rate) * (entity.variance[f] + rate * apart * apart)
            entity.least[f] = min(entity.least[f], float(np.float32(value)))
            entity.greatest[f] = max(entity.greatest[f], float(np.float32(value)))
        return center, spread

    def _judged(self, entity: _Entity, number: int, window: NDArray[np.float32]):  # type: ignore[no-untyped-def]
        errors = self.model.score(window[None])[0]
        profiles, width = self.profiles, self.layout.features
        terms = range(self.layout.terms)
        usual = self._usual(entity, number)
        e = [
            [min(float(errors[t, f]) ** 2 / usual[t][f], self.layout.clip[t]) for f in range(width)]
            for t in terms
        ]
        entity.judged += 1
        rate = max(1 / (entity.judged + 100), 1e-4)
        if entity.usual:
            entity.usual = [
                [old + rate * (new * bound - old) for old, new, bound in zip(*rows, strict=True)]
                for rows in zip(entity.usual, e, usual, strict=True)
            ]
        if entity.smoothed is None:
            entity.smoothed = e
        else:
            old = entity.smoothed
            entity.smoothed = [
                [s + self.layout.smoothing[t] * (new - s) for s, new in zip(old[t], e[t], strict=True)]
                for t in terms
            ]
        weight = [1 / (width * profiles.scale[number, t]) for t in terms]
        parts = [sum(entity.smoothed[t][f] * weight[t] for t in terms) for f in range(width)]
        score = sum(parts)
        shares = {}
        if score >= profiles.threshold[number] and score > 0:
            best = sorted(range(width), key=lambda f: -parts[f])[:TOP]
            shares = {f: parts[f] / score for f in best if parts[f] > 0}
        return score, score >= profiles.threshold[number], shares

    def _usual(self, entity: _Entity, number: int) -> list[list[float]]:
        """Square of the usual error per term and feature before this row."""
        squares = self.profiles.error_sd.astype(np.float64) ** 2
        if number < len(self.profiles.names):
            return squares[number].tolist()  # type: ignore[no-any-return]
        if entity.usual is None:
            entity.usual = squares[number].tolist()
        least = squares.min(axis=(0, 2))
        return [[max(one, least[t]) for one in row] for t, row in enumerate(entity.usual)]

    def alert(self, partition: int, name: bytes, score: float) -> str:
        """Where the row just given stands to an alert; counts calm rows upwards, where the kernel counts down."""
        entity, threshold = self.entities[partition, name], self.profiles.threshold[self._number(name)]
        if entity.calm is None:
            entity.calm = 0 if score >= threshold else None
            return "none" if entity.calm is None else "begins"
        entity.calm = entity.calm + 1 if score < self.layout.release_ratio * threshold else 0
        if entity.calm == self.layout.release_rows:
            entity.calm = None
            return "ends"
        return "continues"


def layout_of(window: int, features: int, terms: int = 1, missing: str = "impute") -> Layout:
    """A layout with usual smoothing and clip."""
    rates, bounds = (0.1, 0.4, 1.0)[:terms], (1000.0, 30.0, 5.0)[:terms]
    return Layout(window, features, terms, rates, bounds, missing, 0.6, 2)  # type: ignore[arg-type]


def profiles_of(layout: Layout, names: tuple[bytes, ...], seed: int = 0) -> Profiles:
    """Profiles of these entities and the fleet, drawn at random."""
    rng = np.random.default_rng(seed)
    rows, width = len(names) + 1, layout.features
    return Profiles(
        names=names,
        center=rng.normal(size=(rows, width)) * 3,
        spread=rng.uniform(0.2, 3, (rows, width)),
        error_sd=rng.uniform(0.2, 2, (rows, layout.terms, width)).astype(np.float32),
        scale=rng.uniform(0.5, 2, (rows, layout.terms)),
        threshold=rng.uniform(0.5, 3, rows),
    )


def columns_of(names: list[bytes], time_ms: list[int], features: NDArray[np.float64]) -> Columns:
    """Columns of these rows."""
    return Columns(np.arange(len(names)), Text.of(names), None, np.array(time_ms, np.int64), features)
