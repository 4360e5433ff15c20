"""A comparison of what is there: all pairs through the same ledger that the live app keeps."""

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

__all__ = ["compared"]

_ROWS: Final = 20_000


def compared(
    parts: Iterable[Pairs], ledger: Ledger, criteria: Criteria, labels: Labels, source: str
) -> dict[str, Any]:
    """Summarise pairs; with labels, measures of their course as well (``quality`` of each comparison).

    The parts hold each partition in offset order; the ledger is empty before. The rest equals what the live app says
    of the same records.
    """
    courses = Courses()
    for part in parts:
        for start in range(0, len(part), _ROWS):
            pairs = labels.apply(part.take(np.arange(start, min(start + _ROWS, len(part)))))
            courses.add(pairs)
            ledger.add(pairs)
    found = summary(ledger, criteria)
    for one in found["comparisons"]:
        versions = Versions(one["shadow_id"], one["primary"]["version"], one["shadow"]["version"])
        one["quality"] = courses.quality(versions)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"source": source, "generated_at": now, **found}
