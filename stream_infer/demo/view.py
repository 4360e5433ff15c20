"""The live view: figures above, alarms in the middle, accounts below. Fits any terminal from 80 x 24 on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream_infer.demo.alarms import Alarm
from stream_infer.demo.comparing import Compared
from stream_infer.demo.pages import WorkerFigures
from stream_infer.demo.watch import Seen

__all__ = ["LABELS", "VERDICTS", "LiveView", "PlainProgress", "moment", "said_features"]

LABELS = {"hit": ("✓ hit", "green"), "false": ("✗ false", "yellow"), "none": ("-", "dim")}
"""What the labels say of an alarm -> how it is shown, and its style."""

VERDICTS = {"undecided": "dim", "promote": "bold green", "keep": "bold red"}
"""Verdict on the shadow -> its style."""

_BARS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"
_WIDE = 110
_FIGURES_ROWS, _ACCOUNTS_ROWS, _FOOT_ROWS, _FRAME_ROWS = 5, 7, 1, 3
_SCALE_CELLS = 8
_PLAIN_EVERY_S = 5.0
_STRANGEST = 10.0


class LiveView:
    """Draws on the whole terminal, and gives it back as it was."""

    def __init__(self, console: Console, events_count: int, places: str) -> None:
        self._console = console
        self._events_count = events_count
        self._places = places
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._began_s = 0.0

    def __enter__(self) -> LiveView:
        self._began_s = time.monotonic()
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, seen: Seen, worker: WorkerFigures, compared: Compared, *, ending: bool) -> None:
        """Draw what is known now."""
        self._live.update(self._drawn(seen, worker, compared, ending=ending), refresh=True)

    def _drawn(self, seen: Seen, worker: WorkerFigures, compared: Compared, *, ending: bool) -> Layout:
        width, height = self._console.size
        layout = Layout()
        layout.split_column(
            Layout(self._figures(seen, worker, width), size=_FIGURES_ROWS),
            Layout(_alarms(seen, width, height - _FIGURES_ROWS - _ACCOUNTS_ROWS - _FOOT_ROWS - _FRAME_ROWS)),
            Layout(_accounts(seen, compared), size=_ACCOUNTS_ROWS),
            Layout(self._foot(ending=ending), size=_FOOT_ROWS),
        )
        return layout

    def _figures(self, seen: Seen, worker: WorkerFigures, width: int) -> Panel:
        done = min(1.0, seen.inputs / max(1, self._events_count))
        progress = Table.grid(expand=True, padding=(0, 1))
        progress.add_column(no_wrap=True)
        progress.add_column(ratio=1)
        progress.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=1.0, completed=done, complete_style="cyan", finished_style="cyan")
        progress.add_row(f"{seen.inputs:,} of {self._events_count:,} events", bar, self._left(done))
        grid = Table.grid(expand=True, padding=(0, 1))
        for ratio in (None, 1, None, 1):
            grid.add_column(no_wrap=True, overflow="crop", ratio=ratio)
        room = max(4, width // 2 - 36)
        grid.add_row(
            Text("throughput", style="dim"),
            Text.assemble((f"{seen.per_s:,.0f} events/s ", "bold"), (_sparkline(seen.history, room), "cyan")),
            Text("latency", style="dim"),
            Text.assemble(
                (f"p50 {_ms(seen.p50_ms)}  p99 {_ms(seen.p99_ms)} ", "bold"),
                (_sparkline(seen.latency_history, room - 4), "magenta"),
            ),
        )
        wide = width >= _WIDE
        commits = f", {worker.commits_per_s:.0f} commits/s" if wide else ""
        cost = f"; worker {worker.cpu_share:.0%} CPU"
        cost += f", {worker.memory_bytes / 1e6:.0f} MB" if wide else ""
        grid.add_row(
            Text("batch", style="dim"),
            f"{worker.batch_events:,.1f} events{commits}",
            Text("lag", style="dim"),
            f"{worker.lag_events:,.0f} events{cost}",
        )
        return Panel(Group(progress, grid), title="stream-infer", box=box.ROUNDED, border_style="cyan")

    def _left(self, done: float) -> str:
        elapsed_s = time.monotonic() - self._began_s
        if done < 0.02:
            return "…"
        left_s = elapsed_s * (1 - done) / done
        return f"{int(left_s) // 60}:{int(left_s) % 60:02d} left"

    def _foot(self, *, ending: bool) -> Text:
        if ending:
            return Text(" ending: what was sent is being finished; Ctrl-C again drops it", style="yellow")
        text = Text(" Ctrl-C ends it with a summary", style="dim", no_wrap=True, overflow="ellipsis")
        return text.append(f" · {self._places}")


class PlainProgress:
    """A line every few seconds, where there is no terminal."""

    def __init__(self, console: Console, events_count: int) -> None:
        self._console = console
        self._events_count = events_count
        self._said_s = time.monotonic()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def update(self, seen: Seen, worker: WorkerFigures, compared: Compared, *, ending: bool) -> None:
        """Say where things stand, if it is time to."""
        if time.monotonic() - self._said_s < _PLAIN_EVERY_S:
            return
        self._said_s = time.monotonic()
        newest = seen.alarms[0] if seen.alarms else None
        said = f"; newest: {newest.entity} {newest.score:.1f} ({said_features(newest, 2)})" if newest else ""
        print(
            f"{seen.inputs:,} of {self._events_count:,} events{', ending' if ending else ''}: {seen.per_s:,.0f}/s, "
            f"p50 {_ms(seen.p50_ms)}, p99 {_ms(seen.p99_ms)}, lag {worker.lag_events:,.0f}, "
            f"batch {worker.batch_events:,.1f}, {seen.rejected} rejected, {seen.alarm_count} alarms, "
            f"{seen.events_found} of {seen.events_seen} labelled events found{said}; {_shadow(compared).plain}",
            file=self._console.file,
            flush=True,
        )


def said_features(alarm: Alarm, count: int) -> str:
    """Return the features of an alarm with their shares of its score."""
    return ", ".join(f"{name} {share:.0%}" for name, share in alarm.features[:count])


def _alarms(seen: Seen, width: int, rows: int) -> Panel:
    wide = width >= _WIDE
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", width=1)
    table.add_column("machine", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("time", no_wrap=True)
    table.add_column("events", justify="right", no_wrap=True)
    table.add_column("score / limit", justify="right", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True, width=_SCALE_CELLS)
    table.add_column("what is strange", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("label", no_wrap=True)
    for alarm in seen.alarms[: max(1, rows)]:
        label, style = LABELS[alarm.label]
        score = f"{alarm.score:,.1f} / {alarm.threshold:.1f}"
        cells: list[RenderableType] = [
            Text("●", style="bold red") if alarm.is_open else "",
            Text(alarm.entity, style="bold" if alarm.is_open else ""),
            Text(moment(alarm.first_ms), style="dim"),
            f"{alarm.count:,}",
            Text(score, style="red" if alarm.label == "hit" else ""),
            *([Text(_scale(alarm), style="red")] if wide else []),
            said_features(alarm, 4 if wide else 2),
            Text(label, style=style),
        ]
        table.add_row(*cells)
    waiting: RenderableType = table if seen.alarms else Text(" no anomaly yet", style="dim")
    title = f"{seen.alarm_count:,} alarms (one per anomaly), newest first"
    return Panel(waiting, title=title, box=box.ROUNDED, border_style="red" if seen.alarms else "dim")


def _shadow(compared: Compared) -> Text:
    """Say what the comparison with the shadow has come to."""
    if compared.agreement is None:
        return Text("shadow: nothing compared yet", style="dim")
    return Text.assemble(
        "shadow: ",
        (f"{compared.compared:,}", "bold"),
        f" compared · agreement {compared.agreement:.1%} · ",
        (compared.verdict, VERDICTS[compared.verdict]),
        (f": {compared.reason}", "dim"),
    )


def _accounts(seen: Seen, compared: Compared) -> Panel:
    in_work = max(0, seen.inputs - seen.outcomes)
    first = Text.assemble(
        (f"{seen.inputs:,}", "bold"),
        " in = ",
        (f"{seen.scored:,}", "bold green"),
        " scored + ",
        (f"{seen.rejected:,}", "bold yellow"),
        f" rejected + {in_work:,} in work",
    )
    second = Text.assemble(
        "labelled events found: ",
        (f"{seen.events_found} of {seen.events_seen}", "bold green"),
        f" · anomalies: {seen.anomalies:,} · false alarms: ",
        (f"{seen.false_alarms:,}", "yellow"),
    )
    errors = " · ".join(f"{name} {count}" for name, count in seen.reject_errors) or "none yet"
    third = Text(f"rejected: {errors}", style="dim")
    fourth = Text(f"the last because {seen.last_reject}" if seen.last_reject else "", style="dim")
    fifth = _shadow(compared)
    for line in (first, second, third, fourth, fifth):
        line.no_wrap, line.overflow = True, "ellipsis"
    return Panel(Group(first, second, third, fourth, fifth), box=box.ROUNDED, border_style="dim")


def _scale(alarm: Alarm) -> str:
    """How far the score is over its threshold, on a logarithmic scale that is full at ten times."""
    ratio = max(1.0, alarm.score / max(1e-9, alarm.threshold))
    eighths = round(8 * _SCALE_CELLS * min(1.0, math.log(ratio) / math.log(_STRANGEST)))
    return ("█" * (eighths // 8) + _PARTS[eighths % 8]).strip() or _PARTS[1]


def _sparkline(values: Sequence[float], room: int) -> str:
    shown = [0.0 if math.isnan(value) else float(value) for value in values[-room:]] if room > 0 else []
    highest = max(shown, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(value / highest * len(_BARS)))] for value in shown)


def _ms(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def moment(time_ms: int) -> str:
    """Return month, day and minute of a time of the data, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%m-%d %H:%M")
