"""Measurements as one page of HTML that needs nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from load.figures import Figure, shown
from load.measurement import QUIET_SHARE, Measurement, spread
from load.plots import Dot, dots, stacks

__all__ = ["page"]

_COLOURS = ("#2f6db3", "#d1701f", "#1a7f4b", "#8a4fb0", "#b3342c", "#4f8a8b", "#9a7b1c", "#5c6670")
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--soft:#5c6670;--rule:#d9dde0;--ground:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5af;--rule:#3a424a;--ground:#14171a}}
body{margin:0 auto;max-width:900px;padding:20px 16px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin:2em 0 .3em}h3{font-size:.95rem;margin:1.2em 0 .2em}
p,li{margin:.2em 0}ul{padding-left:1.2em}.noisy{font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:3px 10px 3px 0;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}
svg{display:block;width:100%;height:auto}svg text{font-size:12px;fill:var(--ink)}svg .tick{fill:var(--soft)}
.grid{stroke:var(--rule)}.span{stroke-width:4;stroke-linecap:round;opacity:.5}
.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
"""


def page(
    measurements: Sequence[Measurement], surroundings: Mapping[str, Any], ratios: Mapping[str, Sequence[str]]
) -> str:
    """The page. ``ratios``: lines of text by scenario."""
    programs = list(dict.fromkeys(one.program for one in measurements))
    colours = "".join(
        f".kind-{number}{{fill:{colour};stroke:{colour}}}.part-{number}{{fill:{colour}}}"
        for number, colour in enumerate(_COLOURS)
    )
    content = [_head(measurements, surroundings)]
    for scenario in dict.fromkeys(one.scenario for one in measurements):
        those = [one for one in measurements if one.scenario == scenario]
        content += [f"<h2>{escape(scenario)}</h2>", _table(those), _lines(ratios.get(scenario, ()))]
        content += [_plot(those, figure, programs) for figure in shown(those) if figure.plotted]
        content.append(_stages(those))
    body = "\n".join(content)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>stream-infer: measurements</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{colours}</style>'
        f"<body>{body}</body></html>\n"
    )


def _head(measurements: Sequence[Measurement], surroundings: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{name}: {value}" for name, value in surroundings.items())
    noisy = sum(not one.quiet for one in measurements)
    said = (
        f'<p class="noisy">The machine was not quiet in {noisy} of {len(measurements)} runs (others took more than '
        f"{QUIET_SHARE:.0%} of it): ratios of runs in turns mean more than their figures.</p>"
        if noisy
        else "<p>The machine was quiet in every run.</p>"
    )
    return (
        f"<h1>stream-infer: measurements</h1><p>{escape(facts)}</p>{said}<p>Every run was read back: each event "
        "once, each score equal to a recomputation. A dot is the median of its runs, the line their spread.</p>"
    )


def _table(measurements: Sequence[Measurement]) -> str:
    figures = shown(measurements)
    titles = ("case", "program", *(figure.title for figure in figures), "others took")
    rows = [
        (
            one.case,
            one.program,
            *(
                figure.text(one.figures[figure.name]) if figure.name in one.figures else ""
                for figure in figures
            ),
            f"{one.strangers:.0%}",
        )
        for one in measurements
    ]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _lines(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _plot(measurements: Sequence[Measurement], figure: Figure, programs: Sequence[str]) -> str:
    values: dict[tuple[str, str], list[float]] = {}
    for one in measurements:
        if figure.name in one.figures:
            values.setdefault((one.case, one.program), []).append(one.figures[figure.name])
    rows = [
        Dot(f"{case}, {program}", f"kind-{programs.index(program) % len(_COLOURS)}", spread(found))
        for (case, program), found in values.items()
    ]
    return f"<h3>{escape(figure.title)}</h3>{dots(figure.title, rows)}"


def _stages(measurements: Sequence[Measurement]) -> str:
    last = {one.case: one.stage_us for one in measurements if one.stage_us}
    stages = list(dict.fromkeys(name for parts in last.values() for name in parts if name != "poll"))
    drawn = stacks(
        "stages",
        [(case, {k: v for k, v in parts.items() if k != "poll"}) for case, parts in last.items()],
        stages,
    )
    key = "".join(
        f'<i style="background:{_COLOURS[number % len(_COLOURS)]}"></i>{escape(name)}'
        for number, name in enumerate(stages)
    )
    title = "the worker's owner thread, us/event by stage (without poll, in which it also waits)"
    return f'<h3>{title}</h3>{drawn}<p class="key">{key}</p>' if drawn else ""
