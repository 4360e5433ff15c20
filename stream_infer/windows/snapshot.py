"""State records: entities in the form of the state topic. The layout module draws them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Text
from stream_infer.windows.layout import STATE_KEY_PREFIX, Layout

__all__ = ["KINDS", "KNOWN", "UNKNOWN", "Encoded", "StateCodec", "StateRecords"]

KNOWN, _WITHOUT_USUAL, UNKNOWN = KINDS = range(3)
"""Kinds of state records: of an entity that training saw (nothing learnt here), and of one it did not.

Between them the kind that earlier workers wrote of the latter: read, never written.
"""

_VERSION = 2
_HEAD = struct.Struct("<BBHI")
_FIELDS = ("as_of", "last_time_ms", "count")


Encoded = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Byte strings end to end (uint8), and where each one ends (int64)."""


class StateRecords(NamedTuple):
    """``record_count`` records of the state topic."""

    keys: Encoded
    values: Encoded
    record_count: int

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Each record as (key, value)."""
        return zip(_cut(*self.keys), _cut(*self.values), strict=True)

    def joined(self, other: StateRecords) -> StateRecords:
        """These records and then the other ones."""
        keys, values = _join(self.keys, other.keys), _join(self.values, other.values)
        return StateRecords(keys, values, self.record_count + other.record_count)


def _cut(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> Iterator[bytes]:
    start = 0
    for end in ends.tolist():
        yield data[start:end].tobytes()
        start = end


def _join(one: Encoded, other: Encoded) -> Encoded:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], len(one[0]) + other[1]])


class StateCodec:
    """Writes and reads the state records of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._lengths = (layout.running_at, layout.usual_at, layout.row_length)
        self._dtypes = tuple(_record_dtype(length) for length in self._lengths)
        self._heads = tuple(_HEAD.pack(_VERSION, kind, 0, layout.fingerprint) for kind in KINDS)

    def encode(
        self, entity: Text, slots: NDArray[np.void], rows: NDArray[np.float32], kind: int
    ) -> StateRecords:
        """Records of n entities of one kind, given their slots and rows."""
        records = np.zeros(len(slots), self._dtypes[kind])
        records["head"] = np.frombuffer(self._heads[kind], np.uint8)
        for name in (*_FIELDS, "alert"):
            records[name] = slots[name]
        records["row"] = rows[:, : self._lengths[kind]]
        values = records.view(np.uint8)
        size = records.dtype.itemsize
        records["crc"] = [zlib.crc32(record[:-4].data) for record in values.reshape(-1, size)]
        value_ends = np.arange(1, len(slots) + 1, dtype=np.int64) * size
        key = b"".join(STATE_KEY_PREFIX + entity[i] for i in range(len(entity)))
        key_ends = np.cumsum(entity.length.astype(np.int64) + len(STATE_KEY_PREFIX))
        return StateRecords((np.frombuffer(key, np.uint8), key_ends), (values, value_ends), len(slots))

    def bytes_of(self, kind: int) -> int:
        """Length of a record's value."""
        return self._dtypes[kind].itemsize

    def kind(self, value: bytes) -> int | None:
        """The kind of a whole and undamaged record of this layout and version; None for anything else."""
        for kind, head in enumerate(self._heads):
            if len(value) == self._dtypes[kind].itemsize and value.startswith(head):
                return kind if zlib.crc32(value[:-4]) == int.from_bytes(value[-4:], "little") else None
        return None

    def decode(self, values: Sequence[bytes], kind: int) -> NDArray[np.void]:
        """Fields as_of, last_time_ms, count, alert and row of n records of one kind."""
        return np.frombuffer(b"".join(values), self._dtypes[kind])


def _record_dtype(row_length: int) -> np.dtype[np.void]:
    fields: list[tuple[object, ...]] = [("head", np.uint8, (_HEAD.size,))]
    fields += [(name, "<i8") for name in _FIELDS]
    fields += [("alert", "<i4"), ("row", "<f4", (row_length,)), ("crc", "<u4")]
    return np.dtype(fields)
