"""Tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

__all__ = [
    "count",
    "errors_table",
    "labels_table",
    "latency_table",
    "matrix",
    "measures_table",
    "number",
    "percent",
    "segments_table",
    "worst_table",
]

_NONE: Final = "\N{EN DASH}"
_FEATURES: Final = 3
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


def measures_table(total: Mapping[str, Any]) -> str:
    """Return how far the two distributions are apart."""
    psi, ks = total["psi"], total["ks"]
    quantiles = "".join(f"<td class='n'>{number(value)}</td>" for value in total["difference"].values())
    heads = "".join(f"<th class='n'>{name}</th>" for name in total["difference"])
    facts = (
        ("PSI", psi["relative"], f"raw scores {number(psi['score'])}"),
        ("KS distance", ks["relative"], f"raw scores {number(ks['score'])}"),
        ("rank correlation", total["rank_correlation"], "Spearman"),
    )
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{number(value)}<small>{more}</small></dd></div>"
        for name, value, more in facts
    )
    return (
        f'<dl class="facts">{listed}</dl><div class="scroll"><table>'
        f"<tr><th>shadow's score less the primary's</th>{heads}</tr><tr><td></td>{quantiles}</tr></table></div>"
    )


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
        '<p class="soft">From the timestamp of the input record to the result. A shadow follows the primary: its '
        "latency holds the primary's as well; of a backtest it says nothing.</p>"
    )


def labels_table(labels: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    """Return how right both are."""
    heads = ["precision", "recall", "AUC-PR", "found", "missed", "false alarms"]
    if quality:
        heads.insert(3, "VUS-PR")
    rows = []
    for side in ("primary", "shadow"):
        own = labels[side]
        cells = [_tenths(own["precision"]), _tenths(own["recall"]), number(own["auc_pr"])]
        cells += [number(quality[f"{side}_vus_pr"])] if quality else []
        cells += [count(own["found"]), count(own["missed"]), count(own["false_alarms"])]
        listed = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        rows.append(f'<tr><td class="{side[0]}">{side}</td>{listed}</tr>')
    listed = "".join(f'<th class="n">{name}</th>' for name in heads)
    mean = (
        f" VUS-PR is the mean over {quality['entities']} entities whose labels hold an anomaly."
        if quality
        else ""
    )
    return (
        f'<div class="scroll"><table><tr><th></th>{listed}</tr>{"".join(rows)}</table></div>'
        f'<p class="soft">{count(labels["events"])} labelled events, {count(labels["anomalies"])} of them anomalies. '
        f"Only the primary is right in {count(labels['only_primary_right'])}, only the shadow in "
        f"{count(labels['only_shadow_right'])}; McNemar's p, were events independent: {number(labels['mcnemar_p'])}."
        f"{mean}</p>"
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
            f'<span class="soft"> {percent(one["agreement_low"])} to {percent(one["agreement_high"])}</span>'
            if one["compared"]
            else ""
        )
        rows.append(
            f"<tr><td>{escape(one['segment'].partition(':')[2])}</td><td class='n'>{count(one['compared'])}</td>"
            f'<td class="nowrap">{percent(one["agreement"])}{span}</td><td class="n">{number(one["kappa"])}</td>'
            f'<td class="n p">{count(flips["only_primary"])}</td><td class="n s">{count(flips["only_shadow"])}</td>'
            f'<td><div class="meter">{meter}</div></td><td class="n">{number(one["psi"]["relative"])}</td></tr>'
        )
    return (
        '<div class="scroll"><table><tr><th></th><th class="n">compared</th><th>agreement</th><th class="n">kappa</th>'
        '<th class="n p">primary only</th><th class="n s">shadow only</th><th>flips</th><th class="n">PSI</th></tr>'
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
            f"<td>{escape(one['entity'])}</td>",
            *(_side(one, side) for side in ("primary", "shadow")),
        ]
        if labelled:
            cells.append(f"<td>{_LABELS[one['label']]}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    label = "<th>label</th>" if labelled else ""
    return (
        f'<div class="scroll"><table><tr><th>time (UTC), event</th><th>entity</th><th class="p">primary</th>'
        f'<th class="s">shadow</th>{label}</tr>{"".join(rows)}</table></div>'
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
    return f"<td>{number(score)} / {number(threshold)}{anomaly}{said}</td>"


def _tenths(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _flips(one: Mapping[str, Any]) -> int:
    return int(one["flips"]["only_primary"] + one["flips"]["only_shadow"])


def _duration(value_ms: float | None) -> str:
    if value_ms is None:
        return _NONE
    return f"{value_ms:.0f} ms" if abs(value_ms) < 10_000 else f"{value_ms / 1000:,.1f} s"
