"""The last word: what went in, what became of it, how fast, how well. As text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream_infer.demo.alarms import Alarm
from stream_infer.demo.audit import Audit
from stream_infer.demo.comparing import Compared
from stream_infer.demo.view import LABELS, VERDICTS, moment, said_features
from stream_infer.models.evaluate import Quality

__all__ = ["Summary"]


@dataclass(frozen=True)
class Summary:
    """What is to be said at the end.

    ``latency_ms`` of all scored events; ``quality`` None without labels; ``paced`` False = as fast as possible;
    ``strongest``: the alarms farthest over their thresholds; ``compared``: what the shadow came to, ``report`` the
    page on it.
    """

    audit: Audit
    quality: Quality | None
    latency_ms: NDArray[np.float64]
    seconds: float
    paced: bool
    strongest: tuple[Alarm, ...] = ()
    compared: Compared = field(default_factory=Compared)
    report: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 when every event ended exactly once, else 1."""
        return 0 if self.audit.is_sound else 1

    def as_dict(self) -> dict[str, int | float | str | None]:
        """Return the figures for ``--json``; null = cannot be said."""
        audit = self.audit
        return {
            "events": audit.sent,
            "scored": len(audit.scored),
            "rejected": audit.rejected,
            "duplicates": audit.duplicates,
            "lost": audit.lost,
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self._per_s(), 1),
            "latency_p50_ms": self._latency_ms(50),
            "latency_p99_ms": self._latency_ms(99),
            "vus_pr": None
            if self.quality is None or self.quality.vus_pr is None
            else round(self.quality.vus_pr, 4),
            "anomalies": audit.anomalies,
            "compared": self.compared.compared,
            "agreement": None if self.compared.agreement is None else round(self.compared.agreement, 4),
            "verdict": self.compared.verdict,
            "report": None if self.report is None else str(self.report),
        }

    def print(self, console: Console) -> None:
        """Print it for people."""
        rows: list[tuple[str, str | Text]] = [
            ("events", f"{self.audit.sent:,} in {self.seconds:.1f} s: {self._per_s():,.0f} events/s"),
            ("accounts", self._accounts()),
            ("latency", self._latency()),
            ("detection", self._detection()),
            ("shadow", self._shadow()),
        ]
        if self.audit.rejects:
            kinds = ", ".join(f"{name} {count:,}" for name, count in self.audit.rejects.most_common())
            rows.insert(2, ("rejected", kinds))
        rows += [("strongest" if index == 0 else "", _alarm(one)) for index, one in enumerate(self.strongest)]
        console.print()
        if console.is_terminal:
            table = Table.grid(padding=(0, 2))
            table.add_column(style="dim", no_wrap=True)
            table.add_column()
            for row in rows:
                table.add_row(*row)
            console.print(table)
        else:
            for name, said in rows:
                console.print(Text.assemble(f"{name:<11}", said), soft_wrap=True)
        console.print()
        console.print(_next(), soft_wrap=True)

    def _per_s(self) -> float:
        return self.audit.sent / self.seconds if self.seconds > 0 else 0.0

    def _latency_ms(self, percent: float) -> float | None:
        return round(float(np.percentile(self.latency_ms, percent)), 1) if len(self.latency_ms) else None

    def _accounts(self) -> Text:
        audit = self.audit
        text = Text.assemble(
            f"{audit.sent:,} in = {len(audit.scored):,} scored + {audit.rejected:,} rejected; ",
            (f"{audit.lost} lost, {audit.duplicates} twice", "bold green" if audit.is_sound else "bold red"),
            " (read back record by record)",
        )
        if audit.altered:
            text.append(f"; {audit.altered} rejects do not hold the event's own bytes", "bold red")
        return text

    def _latency(self) -> str:
        if not len(self.latency_ms):
            return "nothing was scored"
        said = (
            f"p50 {self._latency_ms(50):,.0f} ms, p99 {self._latency_ms(99):,.0f} ms from the producer to a "
        )
        said += "read_committed consumer"
        return said if self.paced else f"{said}; at full speed that is mostly waiting in the input topic"

    def _shadow(self) -> Text:
        compared = self.compared
        if compared.agreement is None:
            return Text("nothing was compared")
        return Text.assemble(
            f"{compared.compared:,} events compared, agreement {compared.agreement:.1%}; ",
            (compared.verdict, VERDICTS[compared.verdict]),
            f": {compared.reason}",
            f" (report: {self.report})" if self.report else "",
        )

    def _detection(self) -> str:
        quality, anomalies = self.quality, f"{self.audit.anomalies:,} anomalies"
        if quality is None:
            return f"{anomalies}; the data has no labels to hold them against"
        parts = [anomalies, f"{quality.events_found} of {quality.events} labelled events found"]
        if quality.false_alarms_per_entity_day is not None:
            parts.append(f"{quality.false_alarms_per_entity_day:.1f} false alarms per machine and day")
        if quality.vus_pr is not None:
            parts.append(f"VUS-PR {quality.vus_pr:.2f} (a random score: {quality.random_vus_pr:.2f})")
        return ", ".join(parts)


def _alarm(alarm: Alarm) -> Text:
    label, style = LABELS[alarm.label]
    features = said_features(alarm, 2)
    said = f"{alarm.entity} {moment(alarm.first_ms)}: {alarm.score:.0f}, limit {alarm.threshold:.0f}; {features} "
    return Text.assemble(said, (label, style))


def _next() -> Text:
    return Text.assemble(
        ("Next: point it at your own topic\n", "bold"),
        "  stream-infer train --data your.parquet --out models/yours\n",
        "  stream-infer config example > worker.toml  # then edit it\n",
        "  stream-infer topics create && stream-infer check && stream-infer run",
    )
