"""A comparison as one page that needs nothing else: the verdict and its reason first, then what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from stream_infer.comparison.charts import bars, interval, lines
from stream_infer.comparison.tables import (
    apart_facts,
    count,
    difference_table,
    errors_table,
    labels_table,
    latency_table,
    matrix,
    number,
    percent,
    segments_table,
    worst_table,
)

__all__ = ["render"]

_WORDS: Final = {
    "undecided": "Undecided",
    "promote": "Promote the candidate",
    "keep": "Keep the primary",
}
_KEY: Final = '<span class="{}"><i class="key"></i>{}</span>'
_LEGEND: Final = f"{_KEY.format('p', 'primary')} &nbsp; {_KEY.format('s', 'shadow')}"
_READING: Final = """
<p>A verdict is given when every criterion is met for certain (<b>promote</b>) or one is broken for certain
(<b>keep</b>). The intervals and bets behind it hold at all times at once: the chance that a wrong verdict is ever
given is at most {alpha:.0%}, however often this page is looked at. One observation is a block of {block}: all its
events together, since events of one entity are not independent.</p>
<p>The interval after a share in the tables (Wilson, 95%) is for one look and takes events as independent: read it
as a hint. Scores are shown relative to the threshold each model has for the entity: 1 is where an anomaly begins.</p>
<dl class="words">
<dt>flip</dt><dd>an event that one model calls an anomaly and the other does not</dd>
<dt>agreement</dt><dd>the share of events that are no flips</dd>
<dt>kappa</dt><dd>agreement beyond what two coins with the same anomaly rates would have: 0 is none, 1 is all</dd>
<dt>PSI</dt><dd>population stability index of the shadow's scores against the primary's: below 0.1 means alike, over
0.25 different</dd>
<dt>KS distance</dt><dd>the greatest gap between the two distributions' cumulated shares, 0 to 1</dd>
<dt>rank correlation</dt><dd>whether both put the events in the same order, however large their scores: 1 is the
same</dd>
</dl>"""


def render(content: Mapping[str, Any]) -> str:
    """Return the page of a summary (``summary.summary``), HTML in one piece."""
    comparisons = content["comparisons"]
    title = "Primary and shadow"
    if comparisons:
        title = f"{_WORDS[comparisons[0]['verdict']['verdict']]}: {_name(comparisons[0]['shadow'])}"
    parts = [_comparison(one, content["criteria"], place) for place, one in enumerate(comparisons)]
    if len(comparisons) > 1:
        links = "".join(
            f'<a href="#c{place}">{escape(_name(one["primary"]))} and {escape(_name(one["shadow"]))}: '
            f"{one['verdict']['verdict']}</a>"
            for place, one in enumerate(comparisons)
        )
        parts.insert(0, f"<nav>{links}</nav>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body><main>"
        f"{''.join(parts) or _nothing(content)}{_foot(content)}</main></body></html>"
    )


def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _nothing(content: Mapping[str, Any]) -> str:
    return (
        '<section class="card verdict"><div class="word">Nothing compared yet</div>'
        f"<p>{escape(str(content.get('source', 'the topic')))} holds no comparison. "
        "`stream-infer shadow` writes them.</p></section>"
    )


def _comparison(one: Mapping[str, Any], criteria: Mapping[str, Any], place: int) -> str:
    total = one["total"]
    course = one["hours"].get("all", [])
    unit = "hour"
    if sum(one["compared"] > 0 for one in course) < 4:
        course, unit = one["minutes"].get("all", []), "minute"
    sections = [
        _verdict(one, criteria, place),
        _criteria(one["verdict"], criteria),
        _card("Labels", labels_table(total["labels"], one.get("quality"))) if total["labels"] else "",
        _card(
            "Scores",
            f"<figcaption>{_LEGEND} &nbsp; share of events (square-root scale) by score over threshold</figcaption>"
            + f'<div class="beside">{bars(**one["distribution"])}{apart_facts(total)}</div>',
        ),
        _time(course, unit, total),
        '<div class="two">',
        _card("Verdicts of both models", matrix(total)),
        _card("Latency", latency_table(total)),
        "</div>",
        _card(
            "Where they differ",
            segments_table(one["segments"]),
            "rules first, then the entities with the most flips",
        ),
        _card(
            "The worst disagreements",
            worst_table(one["worst"]),
            "the worst event of an entity's hour; flips first, then by distance of the scores, each over its threshold",
        ),
        _card("Not compared", errors_table(total)) if total["errors"] else "",
        f'<details class="card"><summary>How to read this</summary>{_read(criteria)}</details>',
    ]
    return "".join(sections)


def _verdict(one: Mapping[str, Any], criteria: Mapping[str, Any], place: int) -> str:
    verdict, total = one["verdict"], one["total"]
    reasons = "".join(f"<li>{escape(_sentence(part))}</li>" for part in verdict["reason"].split("; "))
    rates = total["anomaly_rate"]
    facts = [
        (
            "compared",
            count(total["compared"]),
            f"of {count(total['events'])} events ({percent(total['coverage'])})",
        ),
        ("agreement", percent(total["agreement"]), f"kappa {number(total['kappa'])}"),
        (
            "anomaly rate",
            f'<span class="p">{percent(rates["primary"])}</span> → <span class="s">{percent(rates["shadow"])}</span>',
            "primary → shadow",
        ),
        (
            "evidence",
            f"{count(verdict['blocks'])} blocks",
            f"of {_span(criteria['block_s'])}: {count(verdict['events'])} events",
        ),
        ("events from", _day(one, "first"), f"to {_day(one, 'last')} UTC"),
    ]
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in facts
    )
    return (
        f'<section class="card verdict {verdict["verdict"]}" id="c{place}"><h1>'
        f'<span class="s">{escape(_name(one["shadow"]))}</span> as the shadow of '
        f'<span class="p">{escape(_name(one["primary"]))}</span></h1>'
        f'<div class="word">{_WORDS[verdict["verdict"]]}</div><ul class="reason">{reasons}</ul>'
        f'<dl class="facts">{listed}</dl></section>'
    )


def _criteria(verdict: Mapping[str, Any], criteria: Mapping[str, Any]) -> str:
    rows = []
    for finding in verdict["findings"]:
        state, style = {True: ("met", "met"), False: ("broken", "broken"), None: ("open", "soft")}[
            finding["met"]
        ]
        rows.append(
            f'<tr><td class="nowrap"><b>{finding["criterion"]}</b></td>'
            f'<td><span class="tag {style}">{state}</span></td>'
            f'<td class="{style}">{_drawn(finding, criteria)}</td><td>{escape(_sentence(finding["text"]))}</td></tr>'
        )
    if not rows:
        return ""
    about = f"fixed before the start; at least {count(criteria['minimum_events'])} events"
    return _card("Criteria", f'<table class="criteria">{"".join(rows)}</table>', about)


def _drawn(finding: Mapping[str, Any], criteria: Mapping[str, Any]) -> str:
    if finding["low"] is None:
        return ""
    if finding["criterion"] == "agreement":
        bounds: list[float] = [criteria["min_agreement"]]
    else:
        bounds = [-criteria["max_rate_change"], criteria["max_rate_change"]]
    signed = finding["criterion"] != "agreement"
    return interval(finding["low"], finding["high"], finding["value"], bounds, signed=signed)


def _time(course: Sequence[Mapping[str, Any]], unit: str, total: Mapping[str, Any]) -> str:
    # Events that neither side could read have no time of their own, but that of their record.
    course = [one for one in course if one["compared"]]
    starts = [one["start"] for one in course]
    agreement = lines(starts, [("all", [one["agreement"] for one in course])], f"agreement per {unit}")
    rates = lines(
        starts,
        [(side, [one["anomaly_rate"][side] for one in course]) for side in ("primary", "shadow")],
        f"anomaly rates per {unit}",
    )
    difference = lines(
        starts,
        [("shadow", [one["difference_median"] for one in course])],
        f"median difference of the scores per {unit}",
        share=False,
    )
    return (
        f'<div class="two">{_card(f"Agreement, per {unit}", agreement)}'
        f"{_card(f'Anomaly rate, per {unit}', f'<figcaption>{_LEGEND}</figcaption>' + rates)}</div>"
        + _card(
            f"Shadow's score minus the primary's, median per {unit}",
            f'<div class="beside">{difference}{difference_table(total)}</div>',
        )
    )


def _card(title: str, content: str, about: str = "") -> str:
    said = f'<p class="soft">{about}</p>' if about else ""
    return f'<section class="card"><h2>{title}</h2>{said}{content}</section>'


def _read(criteria: Mapping[str, Any]) -> str:
    return _READING.format(alpha=criteria["alpha"], block=_span(criteria["block_s"]))


def _span(seconds: int) -> str:
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            number_of = seconds // length
            return f"{number_of} {unit}{'s' if number_of > 1 else ''}"
    return f"{seconds} seconds"


def _foot(content: Mapping[str, Any]) -> str:
    said = [f"from {content['source']}"] if content.get("source") else []
    if content.get("generated_at"):
        said.append(str(content["generated_at"]))
    if content.get("is_whole") is False:
        said.append(
            "this process does not hold all partitions: the numbers are of a part, and no verdict is published"
        )
    return f'<p class="soft">stream-infer compare; {escape("; ".join(said))}</p>'


def _name(side: Mapping[str, Any]) -> str:
    return f"{side['name']} {side['version']}".strip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _day(one: Mapping[str, Any], which: str) -> str:
    return str(one[which])[:16].replace("T", " ")
