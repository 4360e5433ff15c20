"""The instructions that take a value out of a payload.

A place in the payload below 0 is minus the status that ended the row.
"""
# ruff: noqa: PLR0911 - a kernel passes scalars and branches on the instruction

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stream_infer.avro import program as ops
from stream_infer.avro import status as why
from stream_infer.avro.read import (
    is_utf8,
    read_block,
    read_decimal,
    read_double,
    read_float,
    read_index,
    read_int,
    read_length,
    read_long,
)
from stream_infer.kernel import kernel_part

__all__ = ["skip_value", "take_array", "take_number", "take_run", "take_text", "take_time"]

MAX_EMPTY_ITEMS: Final = 1_048_576
MAX_TEXT_BYTES: Final = 4096
MAX_DECIMAL_BYTES: Final = 125  # 2**1000 is still a float
DIGITS: Final = 20  # of an int64, with its sign
MIN_TIME_MS: Final = -62_135_596_800_000  # the years 1 to 9999
MAX_TIME_MS: Final = 253_402_300_799_999


@kernel_part
def skip_value(op: int, a: int, payload: Any, pos: int, end: int) -> int:
    """Read over one value of a plain type."""
    if op == ops.SKIP:
        return pos + a if a <= end - pos else -why.TRUNCATED
    if op == ops.SKIP_BOOLEAN:
        if pos >= end:
            return -why.TRUNCATED
        return pos + 1 if payload[pos] <= 1 else -why.BOOLEAN_BYTE
    if op == ops.SKIP_INT:
        return read_int(payload, pos, end)[1]
    if op == ops.SKIP_LONG:
        return read_long(payload, pos, end)[1]
    if op == ops.SKIP_ENUM:
        return read_index(payload, pos, end, a, why.ENUM_INDEX)[1]
    if op == ops.SKIP_EMPTY:
        return _skip_empty(payload, pos, end)
    length, pos = read_length(payload, pos, end)
    if pos >= 0 and op == ops.SKIP_STRING and not is_utf8(payload, pos, pos + length):
        return -why.UTF8
    return pos + length if pos >= 0 else pos


@kernel_part
def _skip_empty(payload: Any, pos: int, end: int) -> int:
    while True:
        count, stop, pos = read_block(payload, pos, end)
        if pos < 0 or count == 0:
            return pos
        if count > MAX_EMPTY_ITEMS or (stop >= 0 and stop != pos):
            return -why.BLOCK


@kernel_part
def take_number(op: int, b: int, c: int, payload: Any, pos: int, end: int) -> tuple[float, int]:
    """Read one value as a feature."""
    if op == ops.MISSING:
        return np.nan, pos
    if op == ops.FLOAT:
        return (read_float(payload, pos), pos + 4) if end - pos >= 4 else (0.0, -why.TRUNCATED)
    if op == ops.DOUBLE:
        return (read_double(payload, pos), pos + 8) if end - pos >= 8 else (0.0, -why.TRUNCATED)
    if op == ops.INT:
        value, pos = read_int(payload, pos, end)
        return np.float64(value), pos
    if op == ops.LONG:
        value, pos = read_long(payload, pos, end)
        return np.float64(value), pos
    if op == ops.BOOLEAN:
        after = skip_value(ops.SKIP_BOOLEAN, 0, payload, pos, end)
        return (np.float64(payload[pos]) if after >= 0 else 0.0), after
    size = c
    if op == ops.DECIMAL:
        size, pos = read_length(payload, pos, end)
    elif size > end - pos:
        return 0.0, -why.TRUNCATED
    if pos >= 0 and size > MAX_DECIMAL_BYTES:
        return 0.0, -why.DECIMAL_SIZE
    return (read_decimal(payload, pos, size, b), pos + size) if pos >= 0 else (0.0, pos)


@kernel_part
def take_run(op: int, a: int, count: int, payload: Any, pos: int, end: int, features: Any) -> int:
    """``count`` fixed-width numbers into the columns from ``a`` on."""
    width = 4 if op == ops.FLOATS else 8
    if count > (end - pos) // width:
        return -why.TRUNCATED
    if op == ops.FLOATS:
        for column in range(a, a + count):
            features[column] = read_float(payload, pos)
            pos += 4
    else:
        for column in range(a, a + count):
            features[column] = read_double(payload, pos)
            pos += 8
    return pos


@kernel_part
def take_array(op: int, payload: Any, pos: int, end: int, features: Any) -> int:
    """A whole array of floats or doubles."""
    filled = 0
    while True:
        count, stop, pos = read_block(payload, pos, end)
        if pos < 0:
            return pos
        if count == 0:
            return pos if filled == len(features) else -why.FEATURE_COUNT
        if count > len(features) - filled:
            return -why.FEATURE_COUNT
        pos = take_run(
            ops.FLOATS if op == ops.FLOAT_ARRAY else ops.DOUBLES, filled, count, payload, pos, end, features
        )
        if pos < 0:
            return pos
        if stop >= 0 and stop != pos:
            return -why.BLOCK
        filled += count


@kernel_part
def _write_digits(value: int, buffer: Any) -> int:
    """The decimal digits of ``value``, at the end of ``buffer``; gives where they start."""
    rest = np.uint64(value) if value >= 0 else ~np.uint64(value) + np.uint64(1)
    place = len(buffer)
    while True:
        place -= 1
        buffer[place] = np.uint8(48) + np.uint8(rest % np.uint64(10))
        rest //= np.uint64(10)
        if rest == 0:
            break
    if value < 0:
        place -= 1
        buffer[place] = 45
    return place


@kernel_part
def _read_span(op: int, size: int, payload: Any, pos: int, end: int) -> tuple[int, int]:
    """Read text that stands in the payload: where it starts, and the place after it."""
    start = pos
    if op != ops.TEXT_FIXED:
        size, start = read_length(payload, pos, end)
    elif size > end - pos:
        return 0, -why.TRUNCATED
    if start < 0:
        return 0, start
    if not is_utf8(payload, start, start + size):
        return 0, -why.UTF8
    return start, start + size


@kernel_part
def take_text(code: Any, at: int, source: Any, row: int, pos: int, base: int, out: Any) -> int:
    """Read where a text is; ``base`` is where the symbols of the program start."""
    op, column, size = code[at, 0], code[at, 1], code[at, 2]
    payload, end = source.payload, source.end[row]
    start, length = 0, 0
    if op == ops.TEXT_INT or op == ops.TEXT_LONG:  # noqa: PLR1714 - numba compares, it does not search
        value, pos = read_int(payload, pos, end) if op == ops.TEXT_INT else read_long(payload, pos, end)
        place = _write_digits(value, out.digits[column, row])
        start = len(payload) + (column * len(out.time_ms) + row) * DIGITS + place
        length = DIGITS - place
    elif op == ops.TEXT_ENUM:
        index, pos = read_index(payload, pos, end, size, why.ENUM_INDEX)
        start, length = base + code[at + 1 + index, 1], code[at + 1 + index, 2]
    elif op != ops.TEXT_MISSING:
        start, pos = _read_span(op, size, payload, pos, end)
        length = pos - start
    if pos < 0:
        return pos
    if column == ops.ENTITY and length == 0:
        return -why.ENTITY_MISSING
    if length > MAX_TEXT_BYTES:
        return -(why.ENTITY_SIZE if column == ops.ENTITY else why.EVENT_ID_SIZE)
    out.text_start[column, row] = start
    out.text_length[column, row] = length
    return pos


@kernel_part
def take_time(op: int, a: int, payload: Any, pos: int, end: int, timestamp_ms: int) -> tuple[int, int]:
    """Read epoch milliseconds."""
    value: Any
    if op == ops.TIME_INT:
        value, pos = read_int(payload, pos, end)
        value *= a
    elif op == ops.TIME_LONG:
        value, pos = read_long(payload, pos, end)
        value //= a
    elif op == ops.TIME_RECORD:
        value = timestamp_ms
        if value < 0:
            return 0, -why.TIME_NONE
    else:
        width = 4 if op == ops.TIME_FLOAT else 8
        if width > end - pos:
            return 0, -why.TRUNCATED
        exact = 1000.0 * (read_float(payload, pos) if op == ops.TIME_FLOAT else read_double(payload, pos))
        if not (MIN_TIME_MS <= exact <= MAX_TIME_MS):
            return 0, -why.TIME_RANGE
        value, pos = np.int64(np.rint(exact)), pos + width
    if pos >= 0 and (value < MIN_TIME_MS or value > MAX_TIME_MS):
        return 0, -why.TIME_RANGE
    return value, pos
