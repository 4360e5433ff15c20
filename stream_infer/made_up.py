"""A row that nobody sent, for what is to run once before the first event."""

from __future__ import annotations

import numpy as np

from stream_infer.records import Batch, Blobs, Columns, Scores, Text
from stream_infer.windows.layout import NONE, TOP

__all__ = ["made_up"]


def made_up(features: int) -> tuple[Batch, Columns, Scores]:
    """One row that nobody sent, decoded and scored."""
    whole, one = np.zeros(1, np.int64), np.ones(1)
    none = np.zeros(1, np.uint8)
    partition, yes = np.zeros(1, np.int32), np.ones(1, np.bool_)
    batch = Batch(np.zeros(1, np.uint8), whole + 1, ~yes, partition, whole, whole, Blobs.of([None]))
    columns = Columns(whole, Text.of([b"warm"]), None, whole, np.zeros((1, features)))
    top, share = np.full((1, TOP), NONE, np.int32), np.zeros((1, TOP), np.float32)
    return batch, columns, Scores(one, one, yes, top, share, yes, none, none)
