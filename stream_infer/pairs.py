"""What two models said of the same events, in columns: what becomes the comparison topic.

Side    one model's word on n events: a score, or why there is none
Pairs   the events, and both sides
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Text

__all__ = ["Pairs", "Side"]


@dataclass(slots=True)
class Side:
    """One side of n pairs.

    Where ``scored`` (bool, n) is False the numbers mean nothing and ``error`` and ``reason`` say why; elsewhere those
    two are not looked at. ``contributions`` holds whole Avro arrays, and is empty where there is nothing to say.
    ``published_ms`` (int64, n) is when this side's result was written.
    """

    name: Text
    version: Text
    scored: NDArray[np.bool_]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    window_full: NDArray[np.bool_]
    error: Text
    reason: Text
    contributions: Text
    published_ms: NDArray[np.int64]


@dataclass(slots=True)
class Pairs:
    """n events and what both sides say of them; an empty event id stands for topic-partition-offset.

    ``input_ms`` (int64, n) is the input record's timestamp, -1 where it has none.
    """

    event_id: Text
    entity: Text
    time_ms: NDArray[np.int64]
    input_ms: NDArray[np.int64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    primary: Side
    shadow: Side

    def __len__(self) -> int:
        return len(self.offset)
