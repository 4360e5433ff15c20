"""The compiled loop that writes scored events, field by field in the order of schemas/scored_event.avsc.

A writer takes the buffer and a place in it, and gives the place after what it wrote; the buffer is large enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import kernel

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

    event_id: NDArray[np.uint8]
    event_id_start: NDArray[np.int64]
    event_id_length: NDArray[np.int32]
    entity: NDArray[np.uint8]
    entity_start: NDArray[np.int64]
    entity_length: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    score: NDArray[np.uint64]
    threshold: NDArray[np.uint64]
    is_anomaly: NDArray[np.bool_]
    alert: NDArray[np.uint8]
    top: NDArray[np.int32]
    share: NDArray[np.uint32]
    window_full: NDArray[np.bool_]
    time_order: NDArray[np.uint8]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]


@kernel
def _put_long(buffer: Any, pos: int, value: Any) -> int:
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest > np.uint64(127):
        buffer[pos] = np.uint8(rest & np.uint64(127)) | np.uint8(128)
        rest >>= np.uint64(7)
        pos += 1
    buffer[pos] = np.uint8(rest)
    return pos + 1


@kernel
def _put_bits(buffer: Any, pos: int, bits: Any, count: int) -> int:
    for byte in range(count):
        buffer[pos + byte] = np.uint8((np.uint64(bits) >> np.uint64(8 * byte)) & np.uint64(255))
    return pos + count


@kernel
def _put(buffer: Any, pos: int, data: Any, start: Any, length: Any) -> Any:
    for byte in range(length):
        buffer[pos + byte] = data[start + byte]
    return pos + length


@kernel
def _digit_count(value: Any) -> int:
    count = 1
    while value >= 10:
        value //= 10
        count += 1
    return count


@kernel
def _put_dash_number(buffer: Any, pos: int, value: Any) -> int:
    """Write ``-`` and a number that is not negative."""
    end = pos + 1 + _digit_count(value)
    buffer[pos] = 45
    for place in range(end - 1, pos, -1):
        buffer[place] = 48 + value % 10
        value //= 10
    return end


@kernel
def _put_event_id(buffer: Any, pos: int, row: int, constants: Any, values: Any) -> Any:
    length = np.int64(values.event_id_length[row])
    if length:
        pos = _put_long(buffer, pos, length)
        return _put(buffer, pos, values.event_id, values.event_id_start[row], length)
    partition, offset = np.int64(values.partition[row]), values.offset[row]
    topic = constants.topic
    pos = _put_long(buffer, pos, len(topic) + 2 + _digit_count(partition) + _digit_count(offset))
    pos = _put(buffer, pos, topic, 0, len(topic))
    return _put_dash_number(buffer, _put_dash_number(buffer, pos, partition), offset)


@kernel
def _put_contributions(buffer: Any, pos: int, row: int, constants: Any, values: Any) -> int:
    top = values.top[row]
    count = 0
    for place in range(len(top)):
        count += top[place] >= 0
    if count:
        pos = _put_long(buffer, pos, count)
    for place in range(len(top)):
        feature = top[place]
        if feature >= 0:
            start = constants.name_ends[feature - 1] if feature else 0
            pos = _put(buffer, pos, constants.names, start, constants.name_ends[feature] - start)
            pos = _put_bits(buffer, pos, values.share[row, place], 4)
    return _put_long(buffer, pos, 0)


@kernel
def encode_rows(
    constants: Constants, values: Values, buffer: NDArray[np.uint8], ends: NDArray[np.int64]
) -> None:
    """Write every row into ``buffer``; ``ends`` (int64, m) receives where each one ends."""
    pos = 0
    for row in range(len(ends)):
        pos = _put(buffer, pos, constants.frame, 0, len(constants.frame))
        pos = _put_event_id(buffer, pos, row, constants, values)
        length = np.int64(values.entity_length[row])
        pos = _put_long(buffer, pos, length)
        pos = _put(buffer, pos, values.entity, values.entity_start[row], length)
        pos = _put_long(buffer, pos, values.time_ms[row])
        pos = _put_bits(buffer, pos, values.score[row], 8)
        pos = _put_bits(buffer, pos, values.threshold[row], 8)
        buffer[pos] = values.is_anomaly[row]
        pos = _put_long(buffer, pos + 1, np.int64(values.alert[row]))
        pos = _put_contributions(buffer, pos, row, constants, values)
        buffer[pos] = values.window_full[row]
        pos = _put_long(buffer, pos + 1, np.int64(values.time_order[row]))
        pos = _put(buffer, pos, constants.model, 0, len(constants.model))
        pos = _put_long(buffer, pos, np.int64(values.partition[row]))
        pos = _put_long(buffer, pos, values.offset[row])
        ends[row] = pos
