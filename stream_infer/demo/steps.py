"""The steps before the first event, as they go: nobody looks at a blank screen."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Steps"]

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.12
_NOTE_EVERY_S = 2.0


@dataclass
class _Step:
    name: str
    began_s: float
    note: str = ""
    took_s: float | None = None
    said_s: float = 0.0


class Steps(AbstractContextManager["Steps"]):
    """Steps that run side by side, told from any thread: with spinners on a terminal, else a line each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._steps: dict[str, _Step] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._rendered, console=self._console, refresh_per_second=8, transient=False
            )
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.__exit__(kind, error, trace)

    def begin(self, name: str, note: str = "") -> None:
        """Begin a step."""
        with self._lock:
            self._steps[name] = _Step(name, time.monotonic(), note)
        self._say(f"{name}: {note}" if note else f"{name} …")

    def note(self, name: str, note: str) -> None:
        """Say what the step is at."""
        with self._lock:
            step = self._steps[name]
            step.note = note
            due = time.monotonic() - step.said_s >= _NOTE_EVERY_S
            if due:
                step.said_s = time.monotonic()
        if due:  # a download has many small parts
            self._say(f"{name}: {note}")

    def done(self, name: str, note: str = "") -> None:
        """End a step."""
        with self._lock:
            step = self._steps[name]
            step.took_s = time.monotonic() - step.began_s
            step.note = note
        self._say(f"{name}: {note or 'ready'} ({step.took_s:.1f} s)")

    def _say(self, line: str) -> None:
        if self._live is None:
            print(line, file=self._console.file, flush=True)

    def _rendered(self) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, width=1)
        table.add_column(no_wrap=True, min_width=16)
        table.add_column(justify="right", no_wrap=True, min_width=6)
        table.add_column(overflow="ellipsis", no_wrap=True, style="dim", ratio=1)
        now = time.monotonic()
        with self._lock:
            for step in self._steps.values():
                running = step.took_s is None
                frame = _FRAMES[int(now / _FRAME_S) % len(_FRAMES)]
                mark = Text(frame, style="cyan") if running else Text("✓", style="green")
                seconds = now - step.began_s if step.took_s is None else step.took_s
                table.add_row(mark, step.name, f"{seconds:.1f} s", step.note)
        return table
