"""Readers of single Avro values.

Each takes the payload, the place of a value and the end of the row, and gives the value and the place after
it, or in its stead minus the status that says why not. None reads beyond ``end``, except those that
take a size, whose caller has looked.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stream_infer.avro import status as why
from stream_infer.intrinsics import load_double, load_float, load_long
from stream_infer.kernel import kernel_part

__all__ = [
    "is_utf8",
    "read_block",
    "read_decimal",
    "read_double",
    "read_float",
    "read_index",
    "read_int",
    "read_length",
    "read_long",
]


ASCII_MASK: Final = np.uint64(0x8080_8080_8080_8080)


@kernel_part
def read_long(payload: Any, pos: int, end: int) -> tuple[int, int]:
    """Read a zigzag varint of at most ten bytes."""
    value: Any = np.int64(0)
    for group in range(10):
        if pos >= end:
            return 0, -why.TRUNCATED
        byte = np.int64(payload[pos])
        pos += 1
        value |= (byte & 127) << (7 * group)
        if byte < 128:
            if group == 9 and byte > 1:
                return 0, -why.VARINT
            return ((value >> 1) & 0x7FFF_FFFF_FFFF_FFFF) ^ -(value & 1), pos
    return 0, -why.VARINT


@kernel_part
def read_int(payload: Any, pos: int, end: int) -> tuple[int, int]:
    """Read a zigzag varint that fits in 32 bits."""
    value, pos = read_long(payload, pos, end)
    if value < -0x8000_0000 or value > 0x7FFF_FFFF:
        return 0, -why.VARINT
    return value, pos


@kernel_part
def read_length(payload: Any, pos: int, end: int) -> tuple[int, int]:
    """How many bytes follow."""
    length, pos = read_long(payload, pos, end)
    if pos < 0:
        return 0, pos
    if length < 0:
        return 0, -why.LENGTH
    if length > end - pos:
        return 0, -why.TRUNCATED
    return length, pos


@kernel_part
def read_index(payload: Any, pos: int, end: int, count: int, status: int) -> tuple[int, int]:
    """One of ``count`` branches or symbols; ``status`` is what it means if it is not."""
    index, pos = read_long(payload, pos, end)
    if pos >= 0 and (index < 0 or index >= count):
        return 0, -status
    return index, pos


@kernel_part
def read_block(payload: Any, pos: int, end: int) -> tuple[int, int, int]:
    """Read the head of a block of an array or map: items, where the block says it ends or -1, the place."""
    count, pos = read_long(payload, pos, end)
    if pos < 0 or count >= 0:
        return count, -1, pos
    size, pos = read_length(payload, pos, end)
    if pos < 0:
        return 0, -1, pos
    if count == -0x8000_0000_0000_0000:
        return 0, -1, -why.BLOCK
    return -count, pos + size, pos


@kernel_part
def is_utf8(payload: Any, pos: int, stop: int) -> bool:
    """Well-formed UTF-8 as of Unicode 15, table 3-7: shortest forms, no surrogates, up to U+10FFFF."""
    while pos < stop:
        if stop - pos >= 8 and not load_long(payload, pos) & ASCII_MASK:
            pos += 8
            continue
        lead = payload[pos]
        pos += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if lead < 0xC2 or lead > 0xF4:
            return False
        if lead < 0xE0:
            more = 1
        elif lead < 0xF0:
            more = 2
            low = 0xA0 if lead == 0xE0 else 0x80
            high = 0x9F if lead == 0xED else 0xBF
        else:
            more = 3
            low = 0x90 if lead == 0xF0 else 0x80
            high = 0x8F if lead == 0xF4 else 0xBF
        if more > stop - pos or payload[pos] < low or payload[pos] > high:
            return False
        for place in range(pos + 1, pos + more):
            if payload[place] & 0xC0 != 0x80:
                return False
        pos += more
    return True


@kernel_part
def read_float(payload: Any, pos: int) -> float:
    """Four bytes."""
    return np.float64(load_float(payload, pos))


@kernel_part
def read_double(payload: Any, pos: int) -> float:
    """Eight bytes."""
    return np.float64(load_double(payload, pos))


@kernel_part
def read_decimal(payload: Any, pos: int, size: int, scale: int) -> float:
    """Read a big-endian two's complement of ``size`` bytes, over 10**scale."""
    # A negative number is minus its complement, less one.
    negative = size > 0 and payload[pos] >= 128
    value = 0.0
    for byte in range(pos, pos + size):
        value = value * 256.0 + np.float64(255 - payload[byte] if negative else payload[byte])
    return (-(value + 1.0) if negative else value) / 10.0**scale
