"""A verdict as a record of the verdict topic."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict

import fastavro

from stream_infer.avro import schemas as own_schemas
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.verdict import Verdict

__all__ = ["VerdictEncoder"]


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
