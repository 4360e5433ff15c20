"""What the brokers log during a run, and what that says of the one fault of theirs that loses and doubles events."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["BrokerLogs", "told"]

_LEFT_OUT = re.compile(
    rb"Couldn't find leader endpoint for partitions \S*?[(\[](.*?)[)\]] while trying to send transaction markers for "
)


class BrokerLogs:
    """The logs in a folder, from where they ended when this was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = {path: path.stat().st_size for path in folder.glob("*.log")}

    def copy_to(self, folder: Path) -> None:
        """Write what the brokers have logged since to files of the same names."""
        for path in self._folder.glob("*.log"):
            with path.open("rb") as log, (folder / path.name).open("wb") as copy:
                log.seek(self._began.get(path, 0))
                shutil.copyfileobj(log, copy)

    def markers_left_out(self) -> dict[str, int]:
        """Partitions without a leader that a transaction coordinator took for deleted, and how often (KAFKA-20734).

        It completes the transaction without its marker there. What was committed is then not seen, or what was aborted
        is committed by the next transaction.
        """
        found: Counter[str] = Counter()
        for path in sorted(self._folder.glob("*.log")):
            with path.open("rb") as log:
                log.seek(self._began.get(path, 0))
                for line in log:
                    if match := _LEFT_OUT.search(line):
                        found.update(name.strip() for name in match[1].decode().split(","))
        return dict(sorted(found.items()))


def told(markers_left_out: Mapping[str, int]) -> str:
    """The same in words."""
    named = ", ".join(f"{name} ({count})" for name, count in markers_left_out.items())
    return f"brokers left transaction markers out (KAFKA-20734): {named}"
