"""One batch under way through decode: its arrays, and what became of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_infer.avro import status as why
from stream_infer.avro.fields import Fields
from stream_infer.avro.instructions import DIGITS
from stream_infer.avro.kernel import Output, Source, check_keys, close_up, read_frames, run_program
from stream_infer.avro.program import ENTITY, EVENT_ID, MAX_DEPTH, Program
from stream_infer.avro.schema import SchemaError
from stream_infer.avro.source import UnknownSchemaError
from stream_infer.records import Batch, Columns, Fault, Rejects, Text

__all__ = ["DecodeRun", "Decoded"]

_STAGE: Final = "decode"
_STATUS_BITS: Final = 8
_AT_BITS: Final = 24  # of an instruction's number: no program is so long
FRAME_BYTES: Final = 5  # of the Confluent wire format: 0, then the schema id

_Rows = NDArray[np.int64] | slice


@dataclass(slots=True)
class Decoded:
    """What decode made of a batch: every row is in ``columns``, in ``rejects`` or in ``waiting``.

    ``waiting`` (int64) are the rows whose schema cannot be looked up now; they are to be decoded again later.
    """

    columns: Columns
    rejects: Rejects
    waiting: NDArray[np.int64]


class DecodeRun:
    """Takes the frames of a batch, executes programs on groups of its rows, and sums up."""

    def __init__(self, batch: Batch, fields: Fields) -> None:
        count = len(batch)
        self._batch = batch
        self._fields = fields
        self._source = _source(batch)
        self._out = Output(
            features=np.empty((count, fields.feature_count)),
            time_ms=np.empty(count, np.int64),
            text_start=np.zeros((2, count), np.int64),
            text_length=np.zeros((2, count), np.int32),
            digits=np.empty((2, count, DIGITS), np.uint8),
            schema_id=np.empty(count, np.int64),
            status=np.empty(count, np.uint8),
            failed_at=np.zeros((count, 2), np.int64),
            stack=np.empty((MAX_DEPTH, 2), np.int64),
        )
        self._symbols: list[NDArray[np.uint8]] = []
        self._keys: Text | None = None
        self._rejects: list[Rejects] = []

    def frames(self, *, framed: bool) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each schema id with the rows (int64, ascending) that name it."""
        status, schema = self._out.status, self._out.schema_id
        frame_bytes = FRAME_BYTES if framed else 0
        read_frames(self._source, self._out, self._fields.max_event_bytes, frame_bytes)
        if self._fields.entity is None:
            self._keys = self._batch.keys.text()
            check_keys(_frozen(self._keys.data), self._keys.start, self._keys.length, status)
        rows = np.flatnonzero(status == why.PENDING)
        if len(rows) < len(status):
            self._reject_failed(np.flatnonzero(status != why.PENDING), None)
        if not len(rows):
            return
        if (schema[rows] == schema[rows[0]]).all():
            yield int(schema[rows[0]]), rows
            return
        rows = rows[np.argsort(schema[rows], kind="stable")]
        for group in np.split(rows, np.flatnonzero(np.diff(schema[rows])) + 1):
            yield int(schema[group[0]]), group

    def execute(self, program: Program, rows: NDArray[np.int64]) -> None:
        """Decode rows by their program."""
        base = len(self._source.payload) + self._out.digits.size + sum(map(len, self._symbols))
        self._symbols.append(program.symbols)
        run_program(program.code, self._source, rows, base, self._out)
        failed = self._out.status[rows] != why.OK
        if failed.any():
            self._reject_failed(rows[failed], program)

    def refuse(self, rows: NDArray[np.int64], error: SchemaError) -> None:
        """Reject rows whose schema cannot be used."""
        name = "schema_unknown" if isinstance(error, UnknownSchemaError) else "schema"
        self._out.status[rows] = why.LEFT
        self._rejects.append(Rejects(rows, np.zeros_like(rows), [Fault(_STAGE, name, str(error))]))

    def wait(self, rows: NDArray[np.int64]) -> None:
        """Leave rows for later."""
        self._out.status[rows] = why.WAITING

    def finish(self) -> Decoded:
        """Give the columns of the rows that were decoded, and what became of the others."""
        status = self._out.status
        rows = np.flatnonzero(status == why.OK)
        good: _Rows = slice(None)  # usually every row is: then nothing is copied or moved
        if len(rows) < len(status):
            good = rows
            close_up(self._out.features, rows)
        data = self._text_data()
        columns = Columns(
            rows=rows,
            entity=self._text(ENTITY, data, good) if self._keys is None else self._keys.take(rows),
            event_id=None if self._fields.event_id is None else self._text(EVENT_ID, data, good),
            time_ms=self._out.time_ms[good],
            features=self._out.features[: len(rows)],
        )
        return Decoded(columns, Rejects.merged(self._rejects), np.flatnonzero(status == why.WAITING))

    def _text(self, column: int, data: NDArray[np.uint8], good: _Rows) -> Text:
        return Text(data, self._out.text_start[column, good], self._out.text_length[column, good])

    def _text_data(self) -> NDArray[np.uint8]:
        """Give the payload, and behind it what texts were made of that are not in it."""
        payload, start = self._source.payload, self._out.text_start
        if start.size and start.max() >= len(payload):
            return np.concatenate((payload, self._out.digits.ravel(), *self._symbols))
        return payload

    def _reject_failed(self, rows: NDArray[np.int64], program: Program | None) -> None:
        """Reject rows by their status, and where in the program and in the event they failed."""
        failed_at = self._out.failed_at[rows]
        codes = (failed_at[:, 1] << _AT_BITS | failed_at[:, 0]) << _STATUS_BITS | self._out.status[rows]
        self._rejects.append(Rejects.coded(rows, codes, lambda code: _fault(code, program)))


def _fault(code: int, program: Program | None) -> Fault:
    code, status = divmod(code, 1 << _STATUS_BITS)
    byte, at = divmod(code, 1 << _AT_BITS)
    reason = why.REASONS[status]
    if program is not None:
        path = program.paths[at]
        reason += f" (at byte {byte} of the event{', field ' + path if path else ''})"
    return Fault(_STAGE, why.CLASSES[status], reason)


def _source(batch: Batch) -> Source:
    """Give the kernels arrays of the one type they were compiled for: copies that can be written, but the payload."""
    end = np.array(batch.ends, np.int64)
    assert not len(end) or end[-1] <= len(batch.payload)  # else the kernels would read beyond it
    start = np.zeros_like(end)
    start[1:] = end[:-1]
    return Source(
        _frozen(batch.payload),
        start,
        end,
        np.array(batch.timestamp_ms, np.int64),
        np.array(batch.null, np.bool_),
    )


def _frozen(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = np.ascontiguousarray(data).view()
    view.flags.writeable = False
    return view
