"""The figures that measurements have: how each is called and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from load.measurement import Measurement

__all__ = ["FIGURES", "Figure", "shown"]


@dataclass(frozen=True)
class Figure:
    """``name`` in a measurement, ``title`` for people, ``form`` to write it in.

    ``compared``: ratios of it are shown. ``plotted``: it has a plot.
    """

    name: str
    title: str
    form: str = ",.0f"
    compared: bool = False
    plotted: bool = False

    def text(self, value: float) -> str:
        """The value as it is shown."""
        return format(value, self.form)


FIGURES = (
    Figure("events_per_s", "events/s", compared=True, plotted=True),
    Figure("second_half_per_s", "second half"),
    Figure("cpu_us_per_event", "CPU us/event", ".2f", compared=True, plotted=True),
    Figure("cpu_us_per_reject", "CPU us/reject", ".2f"),
    Figure("broker_us_per_event", "broker us/event", ".2f"),
    Figure("window_us", "look-up and window us", ".3f", compared=True, plotted=True),
    Figure("p50_ms", "p50 ms", ".1f", compared=True, plotted=True),
    Figure("p99_ms", "p99 ms", ".1f", compared=True, plotted=True),
    Figure("p999_ms", "p99.9 ms", ".1f"),
    Figure("core_percent", "% of a core", ".2f", compared=True, plotted=True),
    Figure("restore_s", "restore s", ".2f", compared=True, plotted=True),
    Figure("ready_s", "ready s", ".1f"),
    Figure("cpu_s", "CPU s", ".1f"),
    Figure("replayed", "replayed"),
    Figure("state_bytes_per_entity", "bytes/entity", plotted=True),
    Figure("peak_rss_mib", "peak RSS MiB", plotted=True),
    Figure("transactions", "transactions"),
    Figure("states_written", "states written"),
    Figure("anomalies", "anomalies"),
)
"""In the order of tables. The unit is in the name."""


def shown(measurements: Sequence[Measurement]) -> list[Figure]:
    """Those that at least one of the measurements has; what has no description here is shown under its own name."""
    there = dict.fromkeys(name for one in measurements for name in one.figures)
    described = {figure.name: figure for figure in FIGURES}
    usual = [figure for figure in FIGURES if figure.name in there]
    return usual + [Figure(name, name.replace("_", " "), ".3g") for name in there if name not in described]
