"""Pairs -> comparisons (schemas/comparison.avsc), the whole batch in one pass."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.comparison_kernel import Constants, SideValues, Values, encode_comparisons
from stream_infer.avro.put import array_of, frozen, number, string
from stream_infer.avro.put_event import event_values
from stream_infer.pairs import Pairs, Side

__all__ = ["ComparisonEncoder", "contributions"]

FIXED_BYTES: Final = 256
"""Of a row: frame, numbers, lengths, union branches and a made-up event id, at their longest."""

_SHARE = struct.Struct("<f")


class ComparisonEncoder:
    """Encodes comparisons of one input topic and shadow.

    ``schema_id`` is the comparison schema's, for the Confluent wire format; None writes bare bodies.
    """

    def __init__(self, schema_id: int | None, topic: str, shadow_id: str) -> None:
        frame = b"" if schema_id is None else b"\0" + schema_id.to_bytes(4, "big")
        self._constants = Constants(
            frame=array_of(frame),
            topic=array_of(topic.encode()),
            source_topic=array_of(string(topic)),
            shadow_id=array_of(string(shadow_id)),
        )

    def encode(self, pairs: Pairs) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Encode every pair: the values end to end (uint8), and where each one ends (int64, n)."""
        values = _values(pairs)
        sides = _side(pairs.primary), _side(pairs.shadow)
        buffer = np.empty(self._most_bytes(values, *sides), np.uint8)
        ends = np.empty(len(pairs), np.int64)
        encode_comparisons(self._constants, values, *sides, buffer, ends)
        return buffer[: ends[-1] if len(ends) else 0], ends

    def _most_bytes(self, values: Values, *sides: SideValues) -> int:
        constants = self._constants
        fixed = FIXED_BYTES + 2 * len(constants.source_topic) + len(constants.shadow_id)
        lengths: list[NDArray[np.int32]] = []
        for side in sides:
            lengths += [side.name_length, side.version_length, side.error_length]
            lengths += [side.reason_length, side.contributions_length]
        texts = sum(int(length.sum(dtype=np.int64)) for length in lengths)
        return len(values.delta) * fixed + values.events.texts_bytes + texts


def contributions(features: Sequence[tuple[bytes, float]]) -> bytes:
    """Encode feature names (as Avro strings, see ``string``) and their shares as an array of Contribution."""
    if not features:
        return b"\0"
    items = b"".join(name + _SHARE.pack(share) for name, share in features)
    return number(len(features)) + items + b"\0"


def _values(pairs: Pairs) -> Values:
    delta = np.subtract(pairs.shadow.score, pairs.primary.score, dtype=np.float64)
    return Values(
        event_values(pairs.event_id, pairs.entity, pairs.time_ms, pairs.partition, pairs.offset),
        input_ms=np.array(pairs.input_ms, np.int64),
        delta=delta.view(np.uint64),
    )


def _side(side: Side) -> SideValues:
    texts = {
        "name": side.name,
        "version": side.version,
        "error": side.error,
        "reason": side.reason,
        "contributions": side.contributions,
    }
    base, parts, placed = 0, [], {}
    for text in texts.values():
        if id(text.data) not in placed:
            placed[id(text.data)] = base
            parts.append(text.data)
            base += len(text.data)
    columns: dict[str, NDArray[np.int64] | NDArray[np.int32]] = {}
    for name, text in texts.items():
        columns[f"{name}_start"] = np.array(text.start + placed[id(text.data)], np.int64)
        columns[f"{name}_length"] = np.array(text.length, np.int32)
    return SideValues(
        data=frozen(np.concatenate(parts)),
        **columns,  # type: ignore[arg-type]
        scored=np.array(side.scored, np.bool_),
        score=np.array(side.score, np.float64).view(np.uint64),
        threshold=np.array(side.threshold, np.float64).view(np.uint64),
        is_anomaly=np.array(side.is_anomaly, np.bool_),
        window_full=np.array(side.window_full, np.bool_),
        published_ms=np.array(side.published_ms, np.int64),
    )
