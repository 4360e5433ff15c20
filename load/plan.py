"""How large a measurement is, and who runs beside the worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from load.rivals import RIVALS

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """Sizes of a scenario's runs.

    ``repeats``: how often all of its runs are taken, in turns. ``events``: of each drain of the worker;
    ``rival_events`` of each of a rival's, which is slower. ``seconds``: length of each paced or idle run. ``modes``:
    what the worker promises, in turns; it has a turn for whatever else a rival promises, too. ``settings``: the
    worker's own, as SECTION__KEY=value.
    """

    repeats: int = 2
    events: int = 1_000_000
    rival_events: int = 150_000
    seconds: float = 15.0
    rivals: tuple[str, ...] = ("plain",)
    modes: tuple[str, ...] = ("exactly_once",)
    settings: dict[str, str] = field(default_factory=dict)

    def events_of(self, program: str) -> int:
        """Events of a drain of this program."""
        return self.events if program == "worker" else int(self.rival_events * RIVALS[program].size)

    def turns(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Promise, program and settings of each run: the worker, then the rivals that promise the same."""
        modes = dict.fromkeys([*self.modes, *(RIVALS[name].mode for name in self.rivals)])
        for mode in modes:
            yield mode, "worker", {**self.settings, "DELIVERY__MODE": mode}
            for name in self.rivals:
                if RIVALS[name].mode == mode:
                    yield mode, name, {}
