"""What is wanted of few scored events only, read one at a time: who they are, and what contributed."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from stream_infer.avro.comparison import contributions
from stream_infer.avro.put import string
from stream_infer.avro.schema import SchemaText
from stream_infer.avro.source import SchemaSource

__all__ = ["ScoredDetails"]

FRAME_BYTES = 5


class ScoredDetails:
    """Details of scored events, which ``decode`` has taken before: their bytes are what their schema says.

    ``features`` are the names of this process's own model.
    """

    def __init__(self, schemas: SchemaSource, features: Sequence[str]) -> None:
        self._schemas = schemas
        self._names = [string(feature) for feature in features]
        self._parsed: dict[SchemaText, Any] = {}

    def identity(self, payload: bytes) -> tuple[bytes, bytes, int]:
        """Event id, entity and time in epoch ms."""
        event = self._read(payload)
        time = event["time"]
        time_ms = time if isinstance(time, int) else round(time.timestamp() * 1000)
        return event["event_id"].encode(), event["entity"].encode(), time_ms

    def contributions(self, payload: bytes) -> bytes:
        """The contributions of a scored event, encoded as those of a comparison."""
        found = self._read(payload)["contributions"]
        return contributions([(string(one["feature"]), one["share"]) for one in found])

    def own_contributions(self, top: NDArray[np.int32], share: NDArray[np.float32]) -> bytes:
        """The same of one row of this process's own scores; -1 is no feature."""
        return contributions(
            [
                (self._names[feature], part)
                for feature, part in zip(top.tolist(), share.tolist(), strict=True)
                if feature >= 0
            ]
        )

    def _read(self, payload: bytes) -> Any:
        framed = self._schemas.framed
        schema = self._schemas.get(int.from_bytes(payload[1:FRAME_BYTES], "big") if framed else 0)
        body = io.BytesIO(payload[FRAME_BYTES:] if framed else payload)
        return fastavro.schemaless_reader(body, self._parse(schema), None)

    def _parse(self, schema: SchemaText) -> Any:
        found = self._parsed.get(schema)
        if found is None:
            named: dict[str, Any] = {}
            for text in schema.references:
                fastavro.parse_schema(json.loads(text), named_schemas=named)
            found = fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
            self._parsed[schema] = found
        return found
