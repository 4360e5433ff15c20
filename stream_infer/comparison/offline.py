"""A comparison of what is at hand: all pairs through the same ledger that the live app keeps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from stream_infer.comparison.labels import Labels
from stream_infer.comparison.ledger import Ledger
from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.quality import Courses
from stream_infer.comparison.summary import summary
from stream_infer.comparison.verdict import Criteria

__all__ = ["Comparison", "compared"]

_ROWS: Final = 20_000


class Comparison:
    """Takes pairs, each partition in offset order, and sums up; the ledger is empty before.

    The sum equals what the live app says of the same records, but for the measures of their course that labels allow
    (``quality``), which need all of them in memory.
    """

    def __init__(self, ledger: Ledger, criteria: Criteria, labels: Labels) -> None:
        self._ledger = ledger
        self._criteria = criteria
        self._labels = labels
        self._courses = Courses()

    def add(self, pairs: Pairs) -> None:
        """Count pairs."""
        for start in range(0, len(pairs), _ROWS):
            part = self._labels.apply(pairs.take(np.arange(start, min(start + _ROWS, len(pairs)))))
            self._courses.add(part)
            self._ledger.add(part)

    def content(self, source: str) -> dict[str, Any]:
        """Return all numbers; ``source`` says where the pairs are from."""
        found = summary(self._ledger, self._criteria)
        for one in found["comparisons"]:
            versions = Versions(one["shadow_id"], one["primary"]["version"], one["shadow"]["version"])
            one["quality"] = self._courses.quality(versions)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return {"source": source, "generated_at": now, **found}


def compared(
    parts: Iterable[Pairs], ledger: Ledger, criteria: Criteria, labels: Labels, source: str
) -> dict[str, Any]:
    """Summarise all pairs."""
    comparison = Comparison(ledger, criteria, labels)
    for part in parts:
        comparison.add(part)
    return comparison.content(source)
