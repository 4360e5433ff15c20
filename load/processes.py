"""What processes took: CPU and memory of a whole tree, and how much of the machine strangers had meanwhile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Strangers", "Usage", "family", "usage"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """User and system seconds of a process and all it started, and the sum of their largest resident sizes so far."""

    cpu_s: float
    peak_rss_bytes: int


def usage(pid: int) -> Usage:
    """What this process and its descendants took so far. Raises OSError when it has ended."""
    processes = _processes()
    if pid not in processes:
        raise ProcessLookupError(f"process {pid} has ended")
    own = _family(pid, processes)
    return Usage(
        sum(processes[one].ticks for one in own) / _TICKS_PER_S,
        sum(_peak_rss_bytes(one) for one in own),
    )


def family(pid: int) -> set[int]:
    """A process and all it started, as far as they live."""
    return _family(pid, _processes())


class Strangers:
    """How much of the machine went to anything but this process and what it started, since this was made."""

    def __init__(self) -> None:
        self._began = self._ticks()

    def share(self) -> float:
        """0 on a quiet machine, 1 when others took all of it."""
        busy, own, total = (now - then for now, then in zip(self._ticks(), self._began, strict=True))
        return max(0.0, (busy - own) / max(1, total))

    @staticmethod
    def _ticks() -> tuple[int, int, int]:
        """Busy ticks of all cores, those of our own, and all there were."""
        fields = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        processes = _processes()
        own = sum(processes[one].ticks for one in _family(os.getpid(), processes))
        return sum(fields) - fields[3] - fields[4], own, sum(fields)


@dataclass(frozen=True)
class _Process:
    parent: int
    ticks: int


def _processes() -> dict[int, _Process]:
    """Every process by its id; its ticks hold those of children that have ended and were waited for."""
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue  # it ended just now
            found[int(folder.name)] = _Process(int(fields[1]), sum(int(field) for field in fields[11:15]))
    return found


def _family(pid: int, processes: dict[int, _Process]) -> set[int]:
    found, generation = {pid}, {pid}
    while generation:
        generation = {one for one, process in processes.items() if process.parent in generation} - found
        found |= generation
    return found


def _peak_rss_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
