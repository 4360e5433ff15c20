"""The stage that writes: scored events and rejects, in input order, to the partition they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Delivery, Outbox, Undone, error_of
from stream_infer.records import Batch, Columns, Headers, Rejects, Scores

__all__ = ["Encoder", "Publisher"]


class Encoder(Protocol):
    """Scored events -> payloads end to end, with their end positions."""

    def encode(
        self, batch: Batch, columns: Columns, scores: Scores
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Encode all rows of ``columns``."""


RejectHeaders = Callable[[Batch, int, str, str, str], list[tuple[str, bytes | None]]]
"""Headers of a reject, of: batch, row, stage, error class, reason."""


class Publisher:
    """Writes through a delivery and counts in its ledger.

    ``passed_headers`` are the (lower-case) names of the record headers that scored events keep.
    """

    def __init__(
        self,
        delivery: Delivery,
        encoder: Encoder,
        scored_topic: str,
        reject_topic: str,
        passed_headers: Collection[str],
        reject_headers: RejectHeaders,
    ) -> None:
        self._delivery = delivery
        self._encoder = encoder
        self._scored_topic = scored_topic
        self._reject_topic = reject_topic
        self._passed_headers = frozenset(name.lower() for name in passed_headers)
        self._reject_headers = reject_headers

    def publish(self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]) -> None:
        """Write all rows of ``columns`` and all rejects. Raises Undone when the producer takes no more."""
        outbox = self._delivery.begin()
        try:
            if len(columns):
                self._publish_scored(outbox, batch, columns, scores)
            self._publish_rejects(outbox, batch, rejects)
        except KafkaException as failure:
            raise Undone.of(error_of(failure), "publish") from failure
        self._delivery.ledger.scored += len(columns)
        self._delivery.ledger.rejected += sum(map(len, rejects))

    def _publish_scored(self, outbox: Outbox, batch: Batch, columns: Columns, scores: Scores) -> None:
        payload, ends = self._encoder.encode(batch, columns, scores)
        rows = columns.rows.tolist()
        keys = batch.keys if len(rows) == len(batch) else [batch.keys[row] for row in rows]
        partitions = batch.partition[columns.rows].tolist()
        values = _slices(payload.tobytes(), ends.tolist())
        if batch.headers is not None:
            for row, value, key, partition in zip(rows, values, keys, partitions, strict=True):
                outbox.write(self._scored_topic, value, key, partition, self._passed(batch.headers[row]))
            return
        produce, topic = outbox.producer.produce, self._scored_topic
        for value, key, partition in zip(values, keys, partitions, strict=True):
            try:
                produce(topic, value, key, partition)
            except BufferError:
                outbox.write(topic, value, key, partition)

    def _publish_rejects(self, outbox: Outbox, batch: Batch, rejects: Sequence[Rejects]) -> None:
        found = [
            (row, reject.stage, error, reason)
            for reject in rejects
            for row, error, reason in zip(reject.rows, reject.errors, reject.reasons, strict=True)
        ]
        for row, stage, error, reason in sorted(found):
            headers = self._reject_headers(batch, row, stage, error, reason)
            partition = int(batch.partition[row])
            outbox.write(self._reject_topic, batch.values[row], batch.keys[row], partition, headers)

    def _passed(self, headers: Headers) -> list[tuple[str, Any]] | None:
        return [
            (name, value) for name, value in headers or () if name.lower() in self._passed_headers
        ] or None


def _slices(payload: bytes, ends: list[int]) -> Iterator[bytes]:
    start = 0
    for end in ends:
        yield payload[start:end]
        start = end
