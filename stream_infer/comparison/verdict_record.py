"""A verdict as a record of the verdict topic, written and read."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import fastavro

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.schema import SchemaError
from stream_infer.avro.source import SchemaSource
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.verdict import Verdict

__all__ = ["StoredVerdict", "VerdictDecoder", "VerdictEncoder"]

_FRAME_BYTES = 5


@dataclass(frozen=True)
class StoredVerdict:
    """What a record of the verdict topic says; ``decided_at_ms`` is the clock's."""

    versions: Versions
    verdict: str
    reason: str
    decided_at_ms: int


class VerdictEncoder:
    """Encodes verdicts by ``schemas/verdict.avsc``; ``schema_id`` None writes bare bodies. ``now_ms`` is the clock."""

    def __init__(
        self, schema_id: int | None, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._frame = b"" if schema_id is None else b"\0" + schema_id.to_bytes(4, "big")
        self._schema = fastavro.parse_schema(json.loads(own_schemas.text("verdict")))
        self._now_ms = now_ms

    def encode(self, versions: Versions, verdict: Verdict) -> bytes:
        """Encode one verdict."""
        body = io.BytesIO()
        body.write(self._frame)
        record = {
            "shadow_id": versions.shadow_id,
            "primary_version": versions.primary,
            "shadow_version": versions.shadow,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "events": verdict.events,
            "blocks": verdict.blocks,
            "until": verdict.until_ms,
            "alpha": verdict.alpha,
            "findings": [asdict(finding) for finding in verdict.findings],
            "decided_at": self._now_ms(),
        }
        fastavro.schemaless_writer(body, self._schema, record)
        return body.getvalue()


class VerdictDecoder:
    """Decodes records of the verdict topic, whichever version of the schema wrote them."""

    def __init__(self, schemas: SchemaSource) -> None:
        self._schemas = schemas
        self._writers: dict[int, Any] = {}

    def decode(self, value: bytes) -> StoredVerdict | None:
        """Decode one record; None where it is no verdict. Raises RegistryError where its schema cannot be had now."""
        frame = _FRAME_BYTES if self._schemas.framed else 0
        try:
            writer = self._writer(int.from_bytes(value[1:frame], "big"))
            record: Any = fastavro.schemaless_reader(io.BytesIO(value[frame:]), writer, None)
            return StoredVerdict(
                Versions(record["shadow_id"], record["primary_version"], record["shadow_version"]),
                record["verdict"],
                record["reason"],
                int(record["decided_at"].timestamp() * 1000),
            )
        except (ValueError, TypeError, EOFError, KeyError, IndexError, AttributeError, SchemaError):
            return None

    def _writer(self, schema_id: int) -> Any:
        if schema_id not in self._writers:
            self._writers[schema_id] = fastavro.parse_schema(json.loads(self._schemas.get(schema_id).text))
        return self._writers[schema_id]
