"""Schemas kept on disk, for a start without a registry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

from stream_infer.avro.schema import SchemaText

__all__ = ["SchemaCache"]

logger = logging.getLogger(__name__)


class SchemaCache:
    """One small file per schema id, in a folder per registry address: ids of different registries do not meet.

    A cache is a comfort: a file that cannot be read is a schema to look up again, one that cannot be written
    is a warning.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder / hashlib.sha256(url.encode()).hexdigest()[:16]

    def get(self, schema_id: int) -> SchemaText | None:
        """Read a schema, None where there is none."""
        try:
            kept = json.loads(self._path(schema_id).read_text(encoding="utf-8"))
            text, references = kept["text"], kept["references"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(text, str) or not isinstance(references, list):
            return None
        return SchemaText(text, tuple(map(str, references)))

    def put(self, schema_id: int, schema: SchemaText) -> None:
        """Write a schema; a reader sees all of it or nothing."""
        content = json.dumps({"text": schema.text, "references": schema.references})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            number, temporary = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    file.write(content)
                Path(temporary).replace(self._path(schema_id))
            except OSError:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            logger.warning("registry.cache_dir: schema %d is not kept: %s", schema_id, error)

    def _path(self, schema_id: int) -> Path:
        return self._folder / f"{schema_id}.json"
