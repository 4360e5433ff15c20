"""Tables of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final

__all__ = [
    "apart_facts",
    "count",
    "difference_table",
    "errors_table",
    "labels_table",
    "latency_table",
    "matrix",
    "number",
    "percent",
    "segments_table",
    "worst_table",
]

_NONE: Final = "\N{EN DASH}"
_FEATURES: Final = 3
_SHORT: Final = 24
_LABELS: Final = {1: "anomaly", 0: "normal", -1: ""}


def percent(value: float | None) -> str:
    """Return a share."""
    if value is None:
        return _NONE
    return f"{value:.2%}" if 0 < abs(value) < 0.1 or 0.9 < value < 1 else f"{value:.1%}"


def number(value: float | None) -> str:
    """Return a number with three figures."""
    return _NONE if value is None else f"{value:.3g}"


def count(value: int) -> str:
    """Return a count."""
    return f"{value:,}"


def apart_facts(total: Mapping[str, Any]) -> str:
    """Return how far the two distributions are apart."""
    psi, ks = total["psi"], total["ks"]
    facts = (
        ("PSI", psi["relative"], f"raw scores {number(psi['score'])}"),
        ("KS distance", ks["relative"], f"raw scores {number(ks['score'])}"),
        ("rank correlation", total["rank_correlation"], "Spearman"),
    )
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{number(value)}<small>{more}</small></dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="facts">{listed}</dl>'


def difference_table(total: Mapping[str, Any]) -> str:
    """Return quantiles of the shadow's score minus the primary's."""
    rows = "".join(
        f"<tr><td>{name.removeprefix('p')}%</td><td class='n'>{number(value)}</td></tr>"
        for name, value in total["difference"].items()
    )
    return f"<table><tr><th>of all events</th><th class='n'>are below</th></tr>{rows}</table>"


def matrix(total: Mapping[str, Any]) -> str:
    """Return the 2 x 2 matrix of verdicts."""
    flips, compared = total["flips"], total["compared"]

    def cell(name: str, style: str) -> str:
        share = flips[name] / compared if compared else None
        return f'<div class="cell {style}"><b>{count(flips[name])}</b>{percent(share)}</div>'

    return (
        '<div class="matrix"><div></div><div class="s">shadow: normal</div><div class="s">shadow: anomaly</div>'
        f'<div class="p">primary: normal</div>{cell("both_normal", "")}{cell("only_shadow", "flip")}'
        f'<div class="p">primary: anomaly</div>{cell("only_primary", "flip")}{cell("both_anomaly", "")}</div>'
    )


def latency_table(total: Mapping[str, Any]) -> str:
    """Return the latencies of both, in milliseconds."""
    latency = total["latency_ms"]
    if latency["primary"]["p50"] is None and latency["shadow"]["p50"] is None:
        return '<p class="none">The input records carry no time to count from.</p>'
    heads = "".join(f'<th class="n">{name}</th>' for name in latency["primary"])
    rows = "".join(
        f'<tr><td class="{side[0]}">{side}</td>'
        + "".join(f'<td class="n">{_duration(value)}</td>' for value in latency[side].values())
        + "</tr>"
        for side in ("primary", "shadow")
    )
    return (
        f"<table><tr><th></th>{heads}</tr>{rows}</table>"
        '<p class="soft">From the timestamp of the input record to the result. A shadow follows the primary and '
        "gathers what it reads (shadow.commit_interval_ms): its latency holds both; of a backtest it says nothing.</p>"
    )


def labels_table(labels: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    """Return how right both are, and what each measure says."""
    primary, shadow = labels["primary"], labels["shadow"]

    def row(name: str, form: Callable[[Any], str], meaning: str) -> tuple[str, str, str, str]:
        key = name.lower().replace(" ", "_").replace("-", "_")
        return name, form(primary[key]), form(shadow[key]), meaning

    rows = [
        row("precision", _tenths, "share of its alarms that were anomalies"),
        row("recall", _tenths, "share of the anomalies that it found"),
        row("AUC-PR", number, "area under precision and recall over all thresholds; 1 is perfect"),
    ]
    if quality:
        meaning = (
            "the same, forgiving of small shifts in time; mean over the "
            f"{quality['entities']} entities whose labels hold an anomaly"
        )
        rows.append(("VUS-PR", number(quality["primary_vus_pr"]), number(quality["shadow_vus_pr"]), meaning))
    rows += [
        row("found", count, "anomalies that it raised an alarm on"),
        row("missed", count, "anomalies that it did not"),
        row("false alarms", count, "alarms on normal events"),
    ]
    listed = "".join(
        f'<tr><td class="nowrap">{name}</td><td class="n">{ours}</td><td class="n">{theirs}</td>'
        f'<td class="soft">{meaning}</td></tr>'
        for name, ours, theirs, meaning in rows
    )
    return (
        '<table class="meanings"><tr><th></th><th class="n p">primary</th><th class="n s">shadow</th><th></th></tr>'
        f'{listed}</table><p class="soft">{count(labels["events"])} labelled events, {count(labels["anomalies"])} of '
        f"them anomalies. {count(labels['only_primary_right'])} events were judged right by the primary alone, "
        f"{count(labels['only_shadow_right'])} by the shadow alone: McNemar's p, were events independent, is "
        f"{number(labels['mcnemar_p'])}.</p>"
    )


def segments_table(segments: Sequence[Mapping[str, Any]]) -> str:
    """Return the segments, flips as bars."""
    if not segments:
        return '<p class="none">No segments: see compare.segments and compare.entities.</p>'
    most = max((_flips(one) / one["compared"] for one in segments if one["compared"]), default=0) or 1.0
    rows = []
    for one in segments:
        flips, compared = one["flips"], one["compared"] or 1
        meter = "".join(
            f'<i class="{style}" style="width:{flips[name] / compared / most:.1%}"></i>'
            for name, style in (("only_primary", "p"), ("only_shadow", "s"))
        )
        span = (
            f'<span class="soft range"> {percent(one["agreement_low"])} to {percent(one["agreement_high"])}</span>'
            if one["compared"]
            else ""
        )
        name = one["segment"].partition(":")[2]
        rows.append(
            f'<tr><td class="whole{_unbroken(name)}">{escape(name)}</td>'
            f'<td class="n" data-of="compared">{count(one["compared"])}</td>'
            f'<td class="nowrap" data-of="agreement">{percent(one["agreement"])}{span}</td>'
            f'<td class="n" data-of="kappa">{number(one["kappa"])}</td>'
            f'<td class="n p" data-of="primary only">{count(flips["only_primary"])}</td>'
            f'<td class="n s" data-of="shadow only">{count(flips["only_shadow"])}</td>'
            f'<td><div class="meter">{meter}</div></td>'
            f'<td class="n" data-of="PSI">{number(one["psi"]["relative"])}</td></tr>'
        )
    return (
        '<div class="scroll"><table class="stack"><tr><th></th><th class="n">compared</th><th>agreement</th>'
        '<th class="n">kappa</th><th class="n p">primary only</th><th class="n s">shadow only</th><th>flips</th>'
        '<th class="n">PSI</th></tr>'
        f"{''.join(rows)}</table></div>"
    )


def worst_table(worst: Sequence[Mapping[str, Any]]) -> str:
    """Return the events that differ most, with what made them anomalies."""
    if not worst:
        return '<p class="none">None.</p>'
    labelled = any(one["label"] >= 0 for one in worst)
    rows = []
    for one in worst:
        cells = [
            f'<td class="nowrap">{one["time"][:19].replace("T", " ")}'
            f'<br><span class="soft">{escape(one["event_id"][:48])}</span></td>',
            f'<td data-of="entity" class="{_unbroken(one["entity"])}">{escape(one["entity"])}</td>',
            *(_side(one, side) for side in ("primary", "shadow")),
        ]
        if labelled:
            cells.append(f'<td data-of="label">{_LABELS[one["label"]]}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    label = "<th>label</th>" if labelled else ""
    sides = "".join(
        f'<th class="{side[0]}">{side}<br><span class="soft">score of threshold; features, shares</span></th>'
        for side in ("primary", "shadow")
    )
    return (
        '<div class="scroll"><table class="stack"><tr><th>time (UTC), event</th><th>entity</th>'
        f"{sides}{label}</tr>{''.join(rows)}</table></div>"
    )


def errors_table(total: Mapping[str, Any]) -> str:
    """Return why events were not compared."""
    rows = "".join(
        f"<tr><td>{one['side']}</td><td>{escape(one['error'])}</td><td class='n'>{count(one['events'])}</td></tr>"
        for one in total["errors"]
    )
    return f"<table><tr><th>side</th><th>failed of</th><th class='n'>events</th></tr>{rows}</table>"


def _side(one: Mapping[str, Any], side: str) -> str:
    score, threshold = one[f"{side}_score"], one[f"{side}_threshold"]
    anomaly = (
        ' <span class="tag broken">anomaly</span>' if threshold is not None and score >= threshold else ""
    )
    features = "".join(
        f'<span class="feature">{escape(part["feature"])} {part["share"]:.0%}</span>'
        for part in one[f"{side}_features"][:_FEATURES]
    )
    said = f'<br><span class="soft">{features}</span>' if features else ""
    return f'<td data-of="{side}">{number(score)} of {number(threshold)}{anomaly}{said}</td>'


def _unbroken(name: str) -> str:
    """Class of a name that is kept on one line: unless it is long."""
    return " nowrap" if len(name) <= _SHORT else ""


def _tenths(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _flips(one: Mapping[str, Any]) -> int:
    return int(one["flips"]["only_primary"] + one["flips"]["only_shadow"])


def _duration(value_ms: float | None) -> str:
    if value_ms is None:
        return _NONE
    return f"{value_ms:.0f} ms" if abs(value_ms) < 10_000 else f"{value_ms / 1000:,.1f} s"
