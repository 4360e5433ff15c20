"""Labels from a Parquet file, which may change, and from a topic, which may grow."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any, Final

from stream_infer.avro.source import SchemaSource
from stream_infer.comparison.labels import Key, Labels, label_of
from stream_infer.errors import ConfigError
from stream_infer.topic_reader import TopicReader, offset_of

__all__ = ["LabelSource", "label_record"]

logger = logging.getLogger(__name__)

_FRAME_BYTES: Final = 5


class LabelSource:
    """Brings into ``labels`` what ``path`` says and what is in ``topic``; either may be None. Not for two threads."""

    def __init__(
        self, labels: Labels, path: Path | None, topic: TopicReader | None, schemas: SchemaSource
    ) -> None:
        self.labels = labels
        self._path = path
        self._topic = topic
        self._schemas = schemas
        self._changes: dict[Key, int] = {}
        self._seen: tuple[int, int] | None = None
        self._positions: dict[int, int] = {}

    def close(self) -> None:
        """Let the brokers go."""
        if self._topic is not None:
            self._topic.close()

    def take(self) -> dict[Key, int]:
        """Take what came since the last call; returns what changed, as it was before.

        Raises BrokerError, and ConfigError where the file cannot be read the first time.
        """
        if self._path is not None:
            self._note(self._of_file(self._path))
        if self._topic is not None:
            self._read_on(self._topic)
        changes, self._changes = self._changes, {}
        return changes

    def _note(self, changes: dict[Key, int]) -> None:
        """Remember what changed: of several changes the oldest says how it was before."""
        for key, before in changes.items():
            self._changes.setdefault(key, before)

    def _of_file(self, path: Path) -> dict[Key, int]:
        seen = _stamp(path)
        if self._seen is not None and seen in (self._seen, None):
            return {}
        try:
            changes = self.labels.read(path)
        except ConfigError as failure:
            if self._seen is None:
                raise
            # Perhaps it is being written.
            logger.warning("labels stay as they were: %s", failure)
            changes = {}
        self._seen = seen
        return changes

    def _read_on(self, topic: TopicReader) -> None:
        refused_count, unreadable = self.labels.refused_count, 0
        for partition, (low, end) in topic.spans().items():
            first = max(low, self._positions.get(partition, 0))
            if first >= end:
                continue
            for messages in topic.chunks({partition: (first, end)}):
                found = [label_of(label_record(message.value(), self._schemas)) for message in messages]
                unreadable += found.count(None)
                for label in filter(None, found):
                    self._note(self.labels.put(label))
                if messages:
                    self._positions[partition] = offset_of(messages[-1]) + 1
            self._positions[partition] = end
        self._warn(unreadable, self.labels.refused_count - refused_count)

    def _warn(self, unreadable: int, refused: int) -> None:
        if unreadable:
            logger.warning("compare.labels_topic unreadable=%d", unreadable)
        if refused:
            logger.warning(
                "labels do not count, there are too many: raise compare.labels_kept refused=%d", refused
            )


def label_record(value: Any, schemas: SchemaSource) -> dict[str, Any]:
    """Read one label, JSON or Avro in the wire format; empty where it is neither."""
    import fastavro  # noqa: PLC0415 (labels are rarely in Avro)

    try:
        if value[:1] == b"\0" and schemas.framed:
            text = schemas.get(int.from_bytes(value[1:_FRAME_BYTES], "big")).text
            body = io.BytesIO(value[_FRAME_BYTES:])
            found = fastavro.schemaless_reader(body, fastavro.parse_schema(json.loads(text)), None)
        else:
            found = json.loads(value)
    except (ValueError, TypeError, EOFError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells one version of a file from another; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
