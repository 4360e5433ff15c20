"""Which events one version of the model scored, read from the scored events themselves, which each name theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SchemaSource
from stream_infer.delivery.source import batch_of
from stream_infer.records import Batch
from stream_infer.rescore.offsets import Offsets
from stream_infer.topic_reader import TopicReader, offset_of

__all__ = ["CORRECTS", "ScoredBy"]

CORRECTS = "stream_infer.corrects"
"""Header of a correction: the version whose score of the event it takes the place of."""

_SOURCE = ("source_partition", "source_offset")


class ScoredBy:
    """Reads a topic of scored events bit by bit; ``offsets`` are those that ``version`` scored, as far as it is read.

    ``corrects``: only corrections of that version's scores count.
    """

    def __init__(
        self, reader: TopicReader, schemas: SchemaSource, version: str, corrects: str | None = None
    ) -> None:
        self._reader = reader
        self._decoder = Decoder(schemas, Fields(_SOURCE, len(_SOURCE), "model_name", None, "model_version"))
        self._version = version.encode()
        self._corrects = None if corrects is None else corrects.encode()
        self._found: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
        self._read_to: dict[int, int] = {}

    @property
    def offsets(self) -> Offsets:
        """What was found so far."""
        return Offsets({partition: np.concatenate(parts) for partition, parts in self._found.items()})

    def read(self) -> int:
        """Read on to where the topic ends now; returns how many more were found. Raises BrokerError, RegistryError."""
        spans = {
            partition: (max(first, self._read_to.get(partition, 0)), end)
            for partition, (first, end) in self._reader.spans().items()
        }
        count = 0
        for messages in self._reader.chunks({p: span for p, span in spans.items() if span[0] < span[1]}):
            if messages:
                self._read_to[messages[-1].partition() or 0] = offset_of(messages[-1]) + 1
                count += self._take([message for message in messages if self._counts(message)])
        return count

    def _counts(self, message: Message) -> bool:
        return self._corrects is None or dict(message.headers() or []).get(CORRECTS) == self._corrects

    def _take(self, messages: Sequence[Message]) -> int:
        if not messages:
            return 0
        partition, offset = self._sources(batch_of(list(messages)))
        for number in np.unique(partition).tolist():
            self._found[number].append(offset[partition == number])
        return len(offset)

    def _sources(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the events of this version come from: partition and offset (int64, m)."""
        columns = self._decoder.decode(batch).columns
        assert columns.event_id is not None  # it carries the version
        sources = columns.features[columns.event_id.equal(self._version)].astype(np.int64)
        return sources[:, 0], sources[:, 1]
