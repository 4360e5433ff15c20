"""Plots as inline SVG: dots with their spread, stacked bars. They take the page's colours and need nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from load.measurement import Spread

__all__ = ["Dot", "dots", "stacks", "ticks"]

_WIDTH: Final = 760
_LABEL: Final = 330
_RIGHT: Final = 24
_ROW: Final = 22
_TOP: Final = 8
_BOTTOM: Final = 24
_FAR: Final = 20.0


class Dot(NamedTuple):
    """A row of a plot: its label, the class that gives its colour, and the value with its spread."""

    label: str
    kind: str
    value: Spread


def dots(title: str, rows: Sequence[Dot]) -> str:
    """One row per dot, from 0; logarithmic where the largest is more than 20 times the smallest."""
    if not rows:
        return ""
    low, high = min(row.value.least for row in rows), max(row.value.most for row in rows)
    logarithmic = low > 0 and high / low > _FAR
    x = _log_scale(low, high) if logarithmic else _linear_scale(high)
    marks = ticks(low, high) if logarithmic else [high * part / 4 for part in range(5)]
    height = _TOP + _ROW * len(rows) + _BOTTOM
    drawn = [_grid(x(mark), height, _short(mark)) for mark in marks]
    for number, row in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        least, middle, most = x(row.value.least), x(row.value.median), x(row.value.most)
        drawn.append(
            f'<text x="{_LABEL - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
            f'<path class="span {row.kind}" d="M{least:.1f},{y:.1f} H{max(most, least + 0.1):.1f}"/>'
            f'<circle class="{row.kind}" cx="{middle:.1f}" cy="{y:.1f}" r="4.5"/>'
        )
    return _svg(title, height, "".join(drawn))


def stacks(title: str, rows: Sequence[tuple[str, dict[str, float]]], kinds: Sequence[str]) -> str:
    """One bar per row, made of its parts in the order of ``kinds``; part number n has the class ``part-n``."""
    high = max((sum(parts.values()) for _, parts in rows), default=0.0)
    if high <= 0:
        return ""
    x = _linear_scale(high)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    drawn = [_grid(x(high * part / 4), height, _short(high * part / 4)) for part in range(5)]
    for number, (label, parts) in enumerate(rows):
        y = _TOP + _ROW * number + 3
        drawn.append(f'<text x="{_LABEL - 8}" y="{y + 12:.1f}" text-anchor="end">{escape(label)}</text>')
        at = 0.0
        for place, kind in enumerate(kinds):
            value = parts.get(kind, 0.0)
            drawn.append(
                f'<rect class="part-{place}" x="{x(at):.1f}" y="{y}" width="{x(at + value) - x(at):.1f}" '
                f'height="{_ROW - 6}"><title>{escape(kind)} {value:.2f}</title></rect>'
            )
            at += value
    return _svg(title, height, "".join(drawn))


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two on a logarithmic scale: powers of ten, with 2 and 5 between them where few fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in found if low <= tick <= high]


class _Scale(NamedTuple):
    low: float
    high: float
    logarithmic: bool

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        at = math.log(value) if self.logarithmic else value
        return _LABEL + (at - low) / (high - low) * (_WIDTH - _LABEL - _RIGHT)


def _log_scale(low: float, high: float) -> _Scale:
    return _Scale(low / 1.2, high * 1.2, logarithmic=True)


def _linear_scale(high: float) -> _Scale:
    return _Scale(0.0, high or 1.0, logarithmic=False)


def _grid(x: float, height: int, text: str) -> str:
    return (
        f'<path class="grid" d="M{x:.1f},{_TOP} V{height - _BOTTOM}"/>'
        f'<text class="tick" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{text}</text>'
    )


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _svg(title: str, height: int, content: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{content}</svg>'
