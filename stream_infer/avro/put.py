"""Writers of single Avro values: in plain Python for what is encoded once, compiled for what is encoded per row.

A compiled writer takes the buffer and a place in it, and gives the place after what it wrote; the buffer is large
enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.intrinsics import load_long, store_int, store_long
from stream_infer.kernel import kernel_part

__all__ = [
    "array_of",
    "digit_count",
    "frozen",
    "number",
    "put",
    "put_bits",
    "put_dash_number",
    "put_long",
    "put_text",
    "string",
]


def number(value: int) -> bytes:
    """Encode a number that is not negative."""
    rest, groups = 2 * value, bytearray()
    while rest > 127:
        groups.append(rest & 127 | 128)
        rest >>= 7
    groups.append(rest)
    return bytes(groups)


def string(text: str) -> bytes:
    """Encode a string."""
    data = text.encode()
    return number(len(data)) + data


def array_of(data: bytes) -> NDArray[np.uint8]:
    """Bytes as a kernel takes them."""
    return np.frombuffer(data, np.uint8)


def frozen(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of a column as a kernel takes them: contiguous, read-only."""
    view = np.ascontiguousarray(data, np.uint8).view()
    view.flags.writeable = False
    return view


@kernel_part
def put_long(buffer: Any, pos: int, value: Any) -> int:
    """Write a zigzag varint."""
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest > np.uint64(127):
        buffer[pos] = np.uint8(rest & np.uint64(127)) | np.uint8(128)
        rest >>= np.uint64(7)
        pos += 1
    buffer[pos] = np.uint8(rest)
    return pos + 1


@kernel_part
def put_bits(buffer: Any, pos: int, bits: Any, count: int) -> int:
    """Write the lowest ``count`` bytes of ``bits``, 4 or 8, the lowest first."""
    if count == 8:
        store_long(buffer, pos, np.uint64(bits))
    else:
        store_int(buffer, pos, np.uint32(bits))
    return pos + count


@kernel_part
def put(buffer: Any, pos: int, data: Any, start: Any, length: Any) -> Any:
    """Write bytes as they are: word by word, the last word over some of the one before it."""
    if length < 8:
        for byte in range(length):
            buffer[pos + byte] = data[start + byte]
        return pos + length
    for word in range(0, length - 8, 8):
        store_long(buffer, pos + word, load_long(data, start + word))
    store_long(buffer, pos + length - 8, load_long(data, start + length - 8))
    return pos + length


@kernel_part
def put_text(buffer: Any, pos: int, row: int, data: Any, start: Any, length: Any) -> Any:
    """Write row ``row`` of a text column as a string."""
    size = np.int64(length[row])
    return put(buffer, put_long(buffer, pos, size), data, start[row], size)


@kernel_part
def digit_count(value: Any) -> int:
    """How many decimal digits a number that is not negative has."""
    count = 1
    while value >= 10:
        value //= 10
        count += 1
    return count


@kernel_part
def put_dash_number(buffer: Any, pos: int, value: Any) -> int:
    """Write ``-`` and a number that is not negative."""
    end = pos + 1 + digit_count(value)
    buffer[pos] = 45
    for place in range(end - 1, pos, -1):
        buffer[place] = 48 + value % 10
        value //= 10
    return end
