"""Columns and scores -> scored events (schemas/scored_event.avsc), the whole batch in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.encode_kernel import Constants, Values, encode_rows
from stream_infer.avro.put import array_of, string
from stream_infer.avro.put_event import event_values
from stream_infer.records import Batch, Columns, Scores, Text

__all__ = ["ScoredEncoder"]

FIXED_BYTES: Final = 128  # of a row: frame, numbers, lengths, and a made-up event id, at their longest
SHARE_BYTES: Final = 4


class ScoredEncoder:
    """Encodes scored events of one model and input topic.

    ``schema_id`` is the output schema's, for the Confluent wire format; None writes bare bodies. A row without an
    event id gets ``topic-partition-offset`` of its record. Of the ``top`` features those that are -1 are left out.
    """

    def __init__(
        self,
        schema_id: int | None,
        feature_names: Sequence[str],
        model_name: str,
        model_version: str,
        topic: str,
    ) -> None:
        frame = b"" if schema_id is None else b"\0" + schema_id.to_bytes(4, "big")
        names = [string(name) for name in feature_names]
        self._constants = Constants(
            frame=array_of(frame),
            names=array_of(b"".join(names)),
            name_ends=np.cumsum([len(name) for name in names], dtype=np.int64),
            model=array_of(string(model_name) + string(model_version) + string(topic)),
            topic=array_of(topic.encode()),
        )
        self._longest_name = max(map(len, names), default=0)

    def encode(
        self, batch: Batch, columns: Columns, scores: Scores
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Encode every row of ``columns``: the values end to end (uint8), and where each one ends (int64, m)."""
        values = _values(batch, columns, scores)
        buffer = np.empty(self._most_bytes(values), np.uint8)
        ends = np.empty(len(columns), np.int64)
        encode_rows(self._constants, values, buffer, ends)
        return buffer[: ends[-1] if len(ends) else 0], ends

    def _most_bytes(self, values: Values) -> int:
        constants = self._constants
        contributions: int = values.top.shape[1] * (self._longest_name + SHARE_BYTES)
        row = FIXED_BYTES + len(constants.model) + len(constants.topic) + contributions
        return len(values.score) * row + values.events.texts_bytes


def _values(batch: Batch, columns: Columns, scores: Scores) -> Values:
    """Give the kernel arrays of the one type it was compiled for: copies that can be written, but the texts."""
    count = len(columns)
    ids = columns.event_id or Text(
        np.zeros(0, np.uint8), np.zeros(count, np.int64), np.zeros(count, np.int32)
    )
    return Values(
        event_values(
            ids, columns.entity, columns.time_ms, batch.partition[columns.rows], batch.offset[columns.rows]
        ),
        score=np.array(scores.score, np.float64).view(np.uint64),
        threshold=np.array(scores.threshold, np.float64).view(np.uint64),
        is_anomaly=np.array(scores.is_anomaly, np.bool_),
        alert=np.array(scores.alert, np.uint8),
        top=np.array(scores.top, np.int32, order="C"),
        share=np.array(scores.share, np.float32, order="C").view(np.uint32),
        window_full=np.array(scores.window_full, np.bool_),
        time_order=np.array(scores.time_order, np.uint8),
    )
