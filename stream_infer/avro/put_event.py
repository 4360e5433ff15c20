"""How scored events and comparisons both begin: frame, event id, entity, time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.put import digit_count, frozen, put, put_dash_number, put_long, put_text
from stream_infer.kernel import kernel_part
from stream_infer.records import Text

__all__ = ["EventValues", "event_values", "put_event"]


class EventValues(NamedTuple):
    """What says which event a row is of: columns of m rows; a row without an event id has one of length 0."""

    id: NDArray[np.uint8]
    id_start: NDArray[np.int64]
    id_length: NDArray[np.int32]
    entity: NDArray[np.uint8]
    entity_start: NDArray[np.int64]
    entity_length: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]

    @property
    def texts_bytes(self) -> int:
        """Bytes of all ids and entities."""
        return int(self.id_length.sum(dtype=np.int64)) + int(self.entity_length.sum(dtype=np.int64))


def event_values(
    event_id: Text,
    entity: Text,
    time_ms: NDArray[np.int64],
    partition: NDArray[np.int32],
    offset: NDArray[np.int64],
) -> EventValues:
    """Give a kernel arrays of the one type it was compiled for: copies that can be written, but the texts."""
    return EventValues(
        frozen(event_id.data),
        np.array(event_id.start, np.int64),
        np.array(event_id.length, np.int32),
        frozen(entity.data),
        np.array(entity.start, np.int64),
        np.array(entity.length, np.int32),
        np.array(time_ms, np.int64),
        np.array(partition, np.int32),
        np.array(offset, np.int64),
    )


@kernel_part
def put_event(buffer: Any, pos: int, row: int, constants: Any, events: Any) -> Any:
    """Write the beginning of a row; ``constants`` has the ``frame``, and the ``topic`` for ids that are not there."""
    pos = put(buffer, pos, constants.frame, 0, len(constants.frame))
    if events.id_length[row]:
        pos = put_text(buffer, pos, row, events.id, events.id_start, events.id_length)
    else:
        pos = _put_place(buffer, pos, constants.topic, np.int64(events.partition[row]), events.offset[row])
    pos = put_text(buffer, pos, row, events.entity, events.entity_start, events.entity_length)
    return put_long(buffer, pos, events.time_ms[row])


@kernel_part
def _put_place(buffer: Any, pos: int, topic: Any, partition: Any, offset: Any) -> Any:
    """Write topic-partition-offset as a string."""
    pos = put_long(buffer, pos, len(topic) + 2 + digit_count(partition) + digit_count(offset))
    pos = put(buffer, pos, topic, 0, len(topic))
    return put_dash_number(buffer, put_dash_number(buffer, pos, partition), offset)
