"""What the worker is doing, written by its owner thread and read by the control server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Component", "Snapshot", "Status"]


@dataclass(frozen=True, slots=True)
class Component:
    """A connection or a model: can the worker use it, and what is there to say of it."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The status at one moment. ``positions`` maps a partition to its next offset to read."""

    phase: str
    progress_age_s: float
    uptime_s: float
    components: Mapping[str, Component]
    positions: Mapping[int, int]
    facts: Mapping[str, Any]

    @property
    def not_ready(self) -> list[str]:
        """Names of the components the worker cannot use, and ``phase`` unless it is running."""
        missing = [name for name, component in self.components.items() if not component.ok]
        return missing if self.phase == "running" else ["phase", *missing]

    def as_dict(self) -> dict[str, Any]:
        """Return the status as plain values, for JSON."""
        return asdict(self) | {"ready": not self.not_ready}


class Status:
    """A thread-safe status: the owner thread tells, any thread takes a snapshot.

    ``components`` are the names of everything that must be usable before the worker is ready; each
    begins as not ok. The phases are starting, restoring, running, draining, stopped.
    """

    def __init__(self, components: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._components = {name: Component(ok=False, detail="starting") for name in components}
        self._phase = "starting"
        self._positions: dict[int, int] = {}
        self._facts: dict[str, Any] = {}
        self._started_s = self._progress_s = clock()

    def progress(self) -> None:
        """Tell that the loop went round: with work, or with nothing to do."""
        # One float: the assignment is atomic, and this is called once per batch.
        self._progress_s = self._clock()

    def phase(self, name: str) -> None:
        """Tell what the worker is at."""
        with self._lock:
            self._phase = name

    def component(self, name: str, *, ok: bool, detail: str = "") -> None:
        """Tell whether a connection or the model can be used. ``detail`` must hold no secret."""
        with self._lock:
            self._components[name] = Component(ok, detail)

    def positions(self, next_offsets: Mapping[int, int]) -> None:
        """Tell the assigned partitions and the next offset of each."""
        with self._lock:
            self._positions = dict(next_offsets)

    def fact(self, **facts: Any) -> None:
        """Tell what else an operator may ask: model, app id, delivery mode. No secrets."""
        with self._lock:
            self._facts |= facts

    def progress_age_s(self) -> float:
        """Return the time since the loop last went round."""
        return max(0.0, self._clock() - self._progress_s)

    def snapshot(self) -> Snapshot:
        """Return the status as it is now."""
        with self._lock:
            return Snapshot(
                self._phase,
                round(self.progress_age_s(), 3),
                round(self._clock() - self._started_s, 3),
                dict(self._components),
                dict(self._positions),
                dict(self._facts),
            )
