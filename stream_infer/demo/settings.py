"""What the user of the demo chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT_RATE", "Settings"]

DEFAULT_RATE = 1200.0
"""Events per second that are pleasant to watch; the packaged test rows last a minute."""

_DEFAULT_DURATION_S = 60.0


@dataclass(frozen=True)
class Settings:
    """``rate`` is in events per second, 0 = as fast as possible. ``broken`` is a share.

    ``model`` and ``candidate``: None = train one. ``events`` None = about a minute's worth. ``report``: None = in the
    user's cache. ``keep``: leave the folder with data and logs behind.
    """

    data: Path
    model: Path | None = None
    candidate: Path | None = None
    report: Path | None = None
    events: int | None = None
    rate: float = DEFAULT_RATE
    partitions: int = 4
    broken: float = 0.005
    keep: bool = False

    @property
    def events_count(self) -> int:
        """How many events are wanted; there may be fewer rows."""
        return self.events or round((self.rate or DEFAULT_RATE) * _DEFAULT_DURATION_S)
