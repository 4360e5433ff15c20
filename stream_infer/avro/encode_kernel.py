"""The compiled loop that writes scored events, field by field in the order of schemas/scored_event.avsc."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.put import put, put_bits, put_long
from stream_infer.avro.put_event import EventValues, put_event
from stream_infer.kernel import kernel, kernel_part

__all__ = ["Constants", "Values", "encode_rows"]


class Constants(NamedTuple):
    """What is the same in every row, encoded once.

    ``names`` are the features' names as Avro strings, ``model`` is model name, model version and source topic
    likewise; ``topic`` is the bare topic, for event ids.
    """

    frame: NDArray[np.uint8]
    names: NDArray[np.uint8]
    name_ends: NDArray[np.int64]
    model: NDArray[np.uint8]
    topic: NDArray[np.uint8]


class Values(NamedTuple):
    """The columns of m rows; score, threshold (uint64) and share (uint32) by their bits."""

    events: EventValues
    score: NDArray[np.uint64]
    threshold: NDArray[np.uint64]
    is_anomaly: NDArray[np.bool_]
    alert: NDArray[np.uint8]
    top: NDArray[np.int32]
    share: NDArray[np.uint32]
    window_full: NDArray[np.bool_]
    time_order: NDArray[np.uint8]


@kernel_part
def _put_contributions(buffer: Any, pos: int, row: int, constants: Any, values: Any) -> int:
    top = values.top[row]
    count = 0
    for place in range(len(top)):
        count += top[place] >= 0
    if count:
        pos = put_long(buffer, pos, count)
    for place in range(len(top)):
        feature = top[place]
        if feature >= 0:
            start = constants.name_ends[feature - 1] if feature else 0
            pos = put(buffer, pos, constants.names, start, constants.name_ends[feature] - start)
            pos = put_bits(buffer, pos, values.share[row, place], 4)
    return put_long(buffer, pos, 0)


@kernel
def encode_rows(
    constants: Constants, values: Values, buffer: NDArray[np.uint8], ends: NDArray[np.int64]
) -> None:
    """Write every row into ``buffer``; ``ends`` (int64, m) receives where each one ends."""
    pos = 0
    for row in range(len(ends)):
        pos = put_event(buffer, pos, row, constants, values.events)
        pos = put_bits(buffer, pos, values.score[row], 8)
        pos = put_bits(buffer, pos, values.threshold[row], 8)
        buffer[pos] = values.is_anomaly[row]
        pos = put_long(buffer, pos + 1, np.int64(values.alert[row]))
        pos = _put_contributions(buffer, pos, row, constants, values)
        buffer[pos] = values.window_full[row]
        pos = put_long(buffer, pos + 1, np.int64(values.time_order[row]))
        pos = put(buffer, pos, constants.model, 0, len(constants.model))
        pos = put_long(buffer, pos, np.int64(values.events.partition[row]))
        pos = put_long(buffer, pos, values.events.offset[row])
        ends[row] = pos
