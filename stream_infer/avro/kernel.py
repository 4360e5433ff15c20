"""The interpreter of decode programs: one compiled loop over the rows of a batch, a status per row.

stream_infer.avro.program says what a program is.
"""
# ruff: noqa: C901, PLR0912 - a kernel passes scalars and branches on the instruction

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro import program as ops
from stream_infer.avro import status as why
from stream_infer.avro.instructions import (
    MAX_TEXT_BYTES,
    skip_value,
    take_array,
    take_number,
    take_run,
    take_text,
    take_time,
)
from stream_infer.avro.read import is_utf8, read_block, read_index
from stream_infer.kernel import kernel, kernel_part

__all__ = ["Output", "Source", "check_keys", "close_up", "read_frames", "run_program"]


class Source(NamedTuple):
    """Rows to read: row i is ``payload[start[i] : end[i]]``."""

    payload: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    null: NDArray[np.bool_]


class Output(NamedTuple):
    """Where the rows go. Text (2, n) is ENTITY and EVENT_ID.

    ``text_start`` counts through the payload, then ``digits`` (2, n, DIGITS), then the symbol bytes of the
    programs. ``failed_at`` (n, 2) is, for a row that failed, the instruction and the byte of its body.
    ``stack`` (MAX_DEPTH, 2) is scratch space.
    """

    features: NDArray[np.float64]
    time_ms: NDArray[np.int64]
    text_start: NDArray[np.int64]
    text_length: NDArray[np.int32]
    digits: NDArray[np.uint8]
    schema_id: NDArray[np.int64]
    status: NDArray[np.uint8]
    failed_at: NDArray[np.int64]
    stack: NDArray[np.int64]


@kernel_part
def _next(a: int, b: int, pc: int, payload: Any, pos: int, end: int, frame: Any) -> tuple[int, int, bool]:
    """Begin another item of the innermost array or map; True if there is none."""
    if frame[0] == 0:
        if frame[1] >= 0 and frame[1] != pos:
            return pc, -why.BLOCK, False
        frame[0], frame[1], pos = read_block(payload, pos, end)
        if pos < 0:
            return pc, pos, False
        if frame[0] == 0:
            return a, pos, True
        if frame[0] > (end - pos) // b:
            return pc, -why.TRUNCATED, False
    frame[0] -= 1
    return pc, pos, False


@kernel_part
def _steer(op: int, a: int, pc: int, pos: int, top: int, stack: Any) -> tuple[int, int, int]:
    """Rare instructions: where to go on in the program and in the datum, and the new height of the stack."""
    if op == ops.FAIL:
        return pc, -a, top
    if op == ops.RETURN:
        return stack[top - 1, 0], pos, top - 1
    if op == ops.BACK:
        return pc, stack[top - 1, 0], top - 1
    if top == ops.MAX_DEPTH:
        return pc, -why.DEPTH, top
    stack[top, 0] = pc if op == ops.CALL else (pos if op == ops.MARK else 0)
    stack[top, 1] = -1
    return (a if op == ops.CALL else pc), pos, top + 1


@kernel_part
def _row(code: Any, source: Any, row: int, base: int, out: Any) -> tuple[int, int, int]:
    """Decode one row: its status, the instruction it stopped at, and the byte that instruction began with."""
    payload, end, stack = source.payload, source.end[row], out.stack
    features = out.features[row]
    pos, pc, top, element = source.start[row], 0, 0, 0
    while True:
        op, a, b, at, before = code[pc, 0], code[pc, 1], code[pc, 2], pc, pos
        pc += 1
        if op < ops.FLOATS:
            pos = skip_value(op, a, payload, pos, end)
        elif op < ops.FLOAT:
            pos = take_run(op, a, b, payload, pos, end, features)
        elif op <= ops.MISSING:
            value, pos = take_number(op, b, code[at, 3], payload, pos, end)
            if a == ops.ELEMENT:
                a = element
                element += 1
                if a >= len(features):
                    pos = -why.FEATURE_COUNT
            if pos >= 0:
                features[a] = value
        elif op == ops.UNION:
            index, pos = read_index(payload, pos, end, a, why.UNION_INDEX)
            pc = code[pc + index, 1]
        elif op == ops.JUMP:
            pc = a
        elif op == ops.NEXT:
            pc, pos, done = _next(a, b, pc, payload, pos, end, stack[top - 1])
            top -= done
        elif op >= ops.TEXT_STRING and op <= ops.TEXT_MISSING:
            pos = take_text(code, at, source, row, pos, base, out)
            if op == ops.TEXT_ENUM:
                pc += b
        elif op >= ops.TIME_INT and op <= ops.TIME_RECORD:
            out.time_ms[row], pos = take_time(op, a, payload, pos, end, source.timestamp_ms[row])
        elif op == ops.FLOAT_ARRAY or op == ops.DOUBLE_ARRAY:  # noqa: PLR1714
            pos = take_array(op, payload, pos, end, features)
        elif op == ops.ELEMENTS:
            element = 0
        elif op == ops.ELEMENTS_END:
            pos = pos if element == len(features) else -why.FEATURE_COUNT
        elif op == ops.END:
            return (why.OK if pos == end else why.TRAILING), at, pos
        else:
            pc, pos, top = _steer(op, a, pc, pos, top, stack)
        if pos < 0:
            return -pos, at, before


@kernel
def run_program(
    code: NDArray[np.int64], source: Source, rows: NDArray[np.int64], base: int, out: Output
) -> None:
    """Decode ``rows`` of ``source`` into ``out``; ``base`` is where the program's symbol bytes start."""
    for row in rows:
        status, at, pos = _row(code, source, row, base, out)
        out.status[row] = status
        if status != why.OK:
            out.failed_at[row, 0] = at
            out.failed_at[row, 1] = pos - source.start[row]


@kernel
def read_frames(source: Source, out: Output, max_bytes: int, frame_bytes: int) -> None:
    """Take the frames off the bodies: the status becomes why.PENDING, or what is wrong with the frame.

    A frame is ``frame_bytes`` long, 0 and then the schema's id; without frames (0) the id is 0. ``source.start``
    is moved to the bodies.
    """
    for row in range(len(out.status)):
        start, size = source.start[row], source.end[row] - source.start[row]
        status, schema_id = why.PENDING, np.int64(0)
        if source.null[row]:
            status = why.NULL
        elif size > max_bytes:
            status = why.TOO_LARGE
        elif size < frame_bytes:
            status = why.SHORT
        elif frame_bytes and source.payload[start] != 0:
            status = why.MAGIC
        else:
            source.start[row] = start + frame_bytes
            for byte in range(start + 1, start + frame_bytes):
                schema_id = (schema_id << 8) | np.int64(source.payload[byte])
        out.status[row], out.schema_id[row] = status, schema_id


@kernel
def close_up(features: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    """Move the given rows, which ascend, to the front: a copy elsewhere would cost more than to decode them."""
    for place in range(len(rows)):
        if rows[place] != place:
            # What is unsigned cannot count from the end, so that the loop becomes vector code.
            to, row = np.uint64(place), np.uint64(rows[place])
            for column in range(np.uint64(features.shape[1])):
                features[to, column] = features[row, column]


@kernel
def check_keys(
    data: NDArray[np.uint8], start: NDArray[np.int64], length: NDArray[np.int32], status: NDArray[np.uint8]
) -> None:
    """Judge message keys as entities: every why.PENDING row whose key cannot be one gets its status."""
    for row in range(len(status)):
        if status[row] != why.PENDING:
            continue
        if length[row] == 0:
            status[row] = why.ENTITY_MISSING
        elif length[row] > MAX_TEXT_BYTES:
            status[row] = why.ENTITY_SIZE
        elif not is_utf8(data, start[row], start[row] + length[row]):
            status[row] = why.KEY_UTF8
