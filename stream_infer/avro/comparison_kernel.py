"""The compiled loop that writes comparisons, field by field in the order of schemas/comparison.avsc."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.put import put, put_bits, put_long, put_text
from stream_infer.avro.put_event import EventValues, put_event
from stream_infer.kernel import kernel, kernel_part

__all__ = ["Constants", "SideValues", "Values", "encode_comparisons"]


class Constants(NamedTuple):
    """What is the same in every row: the frame, the bare topic for event ids, and topic and shadow id as strings."""

    frame: NDArray[np.uint8]
    topic: NDArray[np.uint8]
    source_topic: NDArray[np.uint8]
    shadow_id: NDArray[np.uint8]


class SideValues(NamedTuple):
    """One side's columns of m rows; texts lie in ``data``; score and threshold by their bits.

    A row with ``scored`` False has no score, threshold, anomaly and full window, but an error and a reason.
    ``contributions`` are whole Avro arrays of some rows; a row of length 0 has an empty one.
    """

    data: NDArray[np.uint8]
    name_start: NDArray[np.int64]
    name_length: NDArray[np.int32]
    version_start: NDArray[np.int64]
    version_length: NDArray[np.int32]
    scored: NDArray[np.bool_]
    score: NDArray[np.uint64]
    threshold: NDArray[np.uint64]
    is_anomaly: NDArray[np.bool_]
    window_full: NDArray[np.bool_]
    error_start: NDArray[np.int64]
    error_length: NDArray[np.int32]
    reason_start: NDArray[np.int64]
    reason_length: NDArray[np.int32]
    contributions_start: NDArray[np.int64]
    contributions_length: NDArray[np.int32]
    published_ms: NDArray[np.int64]


class Values(NamedTuple):
    """The columns of m rows that both sides share; ``delta`` by its bits."""

    events: EventValues
    input_ms: NDArray[np.int64]
    delta: NDArray[np.uint64]


@kernel_part
def _put_side(buffer: Any, pos: int, row: int, side: Any) -> Any:
    pos = put_text(buffer, pos, row, side.data, side.name_start, side.name_length)
    pos = put_text(buffer, pos, row, side.data, side.version_start, side.version_length)
    if side.scored[row]:
        buffer[pos] = 2
        pos = put_bits(buffer, pos + 1, side.score[row], 8)
        buffer[pos] = 2
        pos = put_bits(buffer, pos + 1, side.threshold[row], 8)
        buffer[pos] = 2
        buffer[pos + 1] = side.is_anomaly[row]
        buffer[pos + 2] = 2
        buffer[pos + 3] = side.window_full[row]
        buffer[pos + 4] = 0
        buffer[pos + 5] = 0
        pos += 6
    else:
        for field in range(4):
            buffer[pos + field] = 0
        buffer[pos + 4] = 2
        pos = put_text(buffer, pos + 5, row, side.data, side.error_start, side.error_length)
        buffer[pos] = 2
        pos = put_text(buffer, pos + 1, row, side.data, side.reason_start, side.reason_length)
    length = np.int64(side.contributions_length[row])
    if length:
        pos = put(buffer, pos, side.data, side.contributions_start[row], length)
    else:
        buffer[pos] = 0
        pos += 1
    return put_long(buffer, pos, side.published_ms[row])


@kernel
def encode_comparisons(
    constants: Constants,
    values: Values,
    primary: SideValues,
    shadow: SideValues,
    buffer: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write every row into ``buffer``; ``ends`` (int64, m) receives where each one ends."""
    pos = 0
    for row in range(len(ends)):
        pos = put_event(buffer, pos, row, constants, values.events)
        pos = put_long(buffer, pos, values.input_ms[row])
        pos = put(buffer, pos, constants.source_topic, 0, len(constants.source_topic))
        pos = put_long(buffer, pos, np.int64(values.events.partition[row]))
        pos = put_long(buffer, pos, values.events.offset[row])
        pos = put(buffer, pos, constants.shadow_id, 0, len(constants.shadow_id))
        pos = _put_side(buffer, pos, row, primary)
        pos = _put_side(buffer, pos, row, shadow)
        if primary.scored[row] and shadow.scored[row]:
            buffer[pos] = 2
            pos = put_bits(buffer, pos + 1, values.delta[row], 8)
            buffer[pos] = 2
            buffer[pos + 1] = primary.is_anomaly[row] == shadow.is_anomaly[row]
        else:
            buffer[pos] = 0
            buffer[pos + 1] = 0
        pos += 2
        ends[row] = pos
