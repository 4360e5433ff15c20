"""Telling who waits how far a long piece of work is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "Report", "silent"]

Progress = Callable[[str, float], None]
"""Told the step by name, and the share of it that is done, 0 to 1."""

Report = Callable[[float], None]
"""Told the share of one step that is done, 0 to 1."""


def silent(*_: object) -> None:
    """Tell nobody."""
