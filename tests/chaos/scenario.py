"""The registry of scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.rig import Rig

__all__ = ["Scenario", "load_all", "scenario"]

Body = Callable[[Rig, Random], None]
_FOUND: dict[str, Scenario] = {}


@dataclass(frozen=True)
class Scenario:
    """A named series of faults. ``faults`` are the kinds it does; ``rig`` are options of its rig (``rig.Options``).

    ``rounds`` says whether the long run takes it (a scenario that measures, or that must fail, is run by name), and
    ``weight`` for how many times as long as others.
    """

    name: str
    body: Body
    faults: tuple[str, ...]
    rig: Mapping[str, Any] = field(default_factory=dict)
    rounds: bool = True
    weight: float = 1.0

    @property
    def purpose(self) -> str:
        """The first line of its docstring."""
        return (self.body.__doc__ or "").strip().partition("\n")[0]


def scenario(
    name: str, *, faults: tuple[str, ...], rounds: bool = True, weight: float = 1.0, **rig: Any
) -> Callable[[Body], Body]:
    """Register a function under ``name``; other keywords are options of its rig: workers, partitions, rate..."""

    def register(body: Body) -> Body:
        known = _FOUND.get(name)
        assert known is None or known.body.__module__ == body.__module__, f"two scenarios are named {name}"
        _FOUND[name] = Scenario(name, body, faults, rig, rounds, weight)
        return body

    return register


def load_all() -> dict[str, Scenario]:
    """Every scenario of the modules ``scenarios_*.py``, by name."""
    for path in sorted(Path(__file__).parent.glob("scenarios_*.py")):
        import_module(f"tests.chaos.{path.stem}")
    return dict(_FOUND)
