"""Payloads of a batch -> columns, a reject for each row that is not what its schema says."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np

from stream_infer.avro.compiler import compile_program
from stream_infer.avro.fields import Fields
from stream_infer.avro.program import END, Program
from stream_infer.avro.run import Decoded, DecodeRun
from stream_infer.avro.schema import SchemaError, SchemaText, parse
from stream_infer.avro.source import SchemaSource, UnknownSchemaError
from stream_infer.errors import RegistryError
from stream_infer.records import Batch, Blobs

__all__ = ["Decoded", "Decoder"]

MAX_PROGRAMS: Final = 1024


class Decoder:
    """Decodes batches of events for the ``fields`` that a model wants.

    A program is compiled once per schema id and kept; a schema that cannot be used is kept as its reason.
    """

    def __init__(self, schemas: SchemaSource, fields: Fields) -> None:
        self._schemas = schemas
        self._fields = fields
        self._programs: OrderedDict[int, Program | SchemaError] = OrderedDict()

    def warm_up(self) -> None:
        """Compile the kernels, or load them from numba's cache, so that the first batch does not wait."""
        payload = np.zeros(1, np.uint8)
        one = np.ones(1, np.int64)
        self.decode(Batch(payload, one, one < 0, one.astype(np.int32), one, one, Blobs.of([b"key"])))
        code = np.array([[END, 0, 0, 0]])
        run = DecodeRun(
            Batch(payload, one, one < 0, one.astype(np.int32), one, one, Blobs.of([b""])), self._fields
        )
        run.execute(Program(code, payload, ("",)), one - 1)

    def check(self, schema: int | str | SchemaText) -> None:
        """Prove that events of a schema, given by id or text, can be decoded.

        Raises SchemaError naming what is wrong, RegistryError if an id cannot be looked up now.
        """
        if isinstance(schema, int):
            found = self._program(schema)
            if isinstance(found, SchemaError):
                raise found
        else:
            compile_program(parse(SchemaText(schema) if isinstance(schema, str) else schema), self._fields)

    def succeed(self, earlier: Decoder) -> None:
        """Prove that events of all schemas that an earlier decoder reads can be decoded. Raises SchemaError."""
        for schema_id, program in tuple(earlier._programs.items()):
            if isinstance(program, Program):
                self.check(schema_id)

    def decode(self, batch: Batch) -> Decoded:
        """Decode every row; no row's bytes can fail another's."""
        run = DecodeRun(batch, self._fields)
        for schema_id, rows in run.frames(framed=self._schemas.framed):
            try:
                program = self._program(schema_id)
            except RegistryError:
                run.wait(rows)
                continue
            if isinstance(program, Program):
                run.execute(program, rows)
            else:
                run.refuse(rows, program)
        return run.finish()

    def _program(self, schema_id: int) -> Program | SchemaError:
        found = self._programs.get(schema_id)
        if found is not None:
            self._programs.move_to_end(schema_id)
            return found
        try:
            found = compile_program(parse(self._schemas.get(schema_id)), self._fields)
        except UnknownSchemaError as error:
            return error  # not kept: the source knows how long to believe it
        except SchemaError as error:
            found = SchemaError(f"schema {schema_id}: {error}" if self._schemas.framed else str(error))
        self._programs[schema_id] = found
        if len(self._programs) > MAX_PROGRAMS:
            self._programs.popitem(last=False)
        return found
