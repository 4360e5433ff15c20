"""Charts as inline SVG: they scale with the page, take its colours, and need nothing from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

__all__ = ["bars", "interval", "levels", "lines", "ticks"]

_WIDTH: Final = 640
_HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 14, 14, 34
_SHARES: Final = (0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Levels of a distribution that are far enough apart on a scale of square roots."""

_INNER_W, _INNER_H = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM


def bars(edges: Sequence[float], primary: Sequence[float], shadow: Sequence[float]) -> str:
    """Two distributions over the same bars of a logarithmic scale; a line marks 1, where anomalies begin."""
    if len(edges) < 2:
        return '<p class="none">No scores to show.</p>'
    low, high = math.log(edges[0]), math.log(edges[-1])
    # Square roots, so that the rare high scores are seen beside the many low ones.
    top = math.sqrt(max(*primary, *shadow)) or 1.0

    def x(value: float) -> float:
        return _LEFT + (math.log(value) - low) / (high - low) * _INNER_W

    def y(share: float) -> float:
        return _TOP + _INNER_H * (1 - math.sqrt(share) / top)

    drawn = [_grid([(y(share), f"{share:.0%}") for share in _SHARES if share <= top**2])]
    for side, shares in (("primary", primary), ("shadow", shadow)):
        points = [f"M{x(edges[0]):.1f},{_TOP + _INNER_H}"]
        for left, right, share in zip(edges, edges[1:], shares, strict=False):
            points.append(f"L{x(left):.1f},{y(share):.1f} L{x(right):.1f},{y(share):.1f}")
        points.append(f"L{x(edges[-1]):.1f},{_TOP + _INNER_H}")
        drawn.append(f'<path class="area {side}" d="{" ".join(points)}"/>')
    drawn += [_x_label(x(tick), f"{tick:g}") for tick in ticks(edges[0], edges[-1])]
    drawn.append(f'<path class="mark" d="M{x(1):.1f},{_TOP} V{_TOP + _INNER_H}"/>')
    drawn.append(f'<text class="marked" x="{x(1) + 4:.1f}" y="{_TOP + 13}">threshold</text>')
    return _svg("distribution of score over threshold, primary and shadow", "".join(drawn))


def lines(
    starts: Sequence[str],
    series: Sequence[tuple[str, Sequence[float | None]]],
    title: str,
    *,
    share: bool = True,
) -> str:
    """Curves over time. Each has a class (its colour) and a value per start, None where there is none."""
    values = [value for _, curve in series for value in curve if value is not None]
    if len(starts) < 2 or not values:
        return '<p class="none">Too short a time to draw a curve of.</p>'
    times = [datetime.fromisoformat(start).timestamp() for start in starts]
    low, high = _range(values, 1.0 if share else math.inf)

    def x(time: float) -> float:
        return _LEFT + (time - times[0]) / (times[-1] - times[0]) * _INNER_W

    def y(value: float) -> float:
        return _TOP + _INNER_H * (1 - (value - low) / (high - low))

    drawn = [_grid([(y(level), text) for level, text in levels(low, high, share=share)])]
    for name, curve in series:
        points, pen = [], "M"
        for time, value in zip(times, curve, strict=True):
            if value is None:
                pen = "M"
                continue
            points.append(f"{pen}{x(time):.1f},{y(value):.1f}")
            pen = "L"
        drawn.append(f'<path class="line {name}" d="{" ".join(points)}"/>')
    for part in range(5):
        time = times[0] + (times[-1] - times[0]) * part / 4
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        drawn.append(_x_label(x(time), _clock(time, starts[0], times[-1] - times[0]), anchor))
    return _svg(title, "".join(drawn))


def interval(low: float, high: float, value: float, bounds: Sequence[float], *, signed: bool) -> str:
    """An interval on a line, its middle as a dot, and the bounds it is held against."""
    # Seen from afar enough that the bounds and the whole interval fit.
    least, most = min(low, *bounds), max(high, *bounds)
    margin = max(most - least, 1e-4) * 0.12
    least, most = least - margin, most + margin
    if not signed:
        least, most = max(0.0, least), min(1.0 + margin / 4, most)

    def x(of: float) -> float:
        return 4 + (of - least) / (most - least) * 232

    marks = "".join(f'<path class="mark" d="M{x(bound):.1f},2 V22"/>' for bound in bounds)
    return (
        '<svg class="interval" viewBox="0 0 240 24" role="img" aria-label="interval and bound">'
        f'<path class="axis" d="M4,12 H236"/>{marks}'
        f'<path class="span" d="M{x(low):.1f},12 H{x(high):.1f}"/><circle cx="{x(value):.1f}" cy="12" r="4.5"/></svg>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic scale: powers of ten, with 2 and 5 between them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 4 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in found if low <= tick <= high]


def levels(low: float, high: float, *, share: bool) -> list[tuple[float, str]]:
    """Round numbers between two, three to six of them, and how to write them: shares as percentages."""
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (5, 2, 1) if factor * power <= rough * (1 + 1e-9))
    places = max(0, -math.floor(math.log10(step * (100 if share else 1)) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(n * step, f"{n * step:.{places}%}" if share else f"{n * step:,.{places}f}") for n in numbers]


def _range(values: Sequence[float], most: float) -> tuple[float, float]:
    """From where to where an axis goes: around the values, not past 0 nor ``most`` where they are not."""
    low, high = min(values), max(values)
    spread = high - low or max(abs(high) * 0.1, 1e-3)
    bottom = low - spread * 0.08
    top = high + spread * 0.08
    return (0.0 if low >= 0 > bottom else bottom), (most if high <= most < top else top)


def _grid(levels: Sequence[tuple[float, str]]) -> str:
    return "".join(
        f'<path class="grid" d="M{_LEFT},{y:.1f} H{_WIDTH - _RIGHT}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        for y, text in levels
    )


def _x_label(x: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, content: str) -> str:
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(title)}">{content}</svg>'


def _clock(time: float, like: str, span_s: float) -> str:
    moment = datetime.fromtimestamp(time, datetime.fromisoformat(like).tzinfo)
    return moment.strftime(
        "%H:%M" if span_s < 36 * 3600 else "%b %d" if span_s > 4 * 86_400 else "%b %d %H:%M"
    )
