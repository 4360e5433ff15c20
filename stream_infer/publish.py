"""The stage that writes: scored events and rejects, in input order, to the partition they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from numpy.typing import NDArray

from stream_infer.delivery.delivery import Delivery, Outbox, Undone, error_of
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.records import Batch, Blobs, Columns, Fault, Rejects, Scores

__all__ = ["Encoder", "Publisher"]


class Encoder(Protocol):
    """Scored events -> payloads end to end, with their end positions."""

    def encode(
        self, batch: Batch, columns: Columns, scores: Scores
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Encode all rows of ``columns``."""


RejectRecords = Callable[[Batch, Rejects], Outgoing]
"""Makes the records of a batch's rejects, in their order."""


_OVERSIZED = Fault("publish", "too_large", "its scored event is larger than message.max.bytes")


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
        reject_records: RejectRecords,
    ) -> None:
        self._delivery = delivery
        self._encoder = encoder
        self._scored_topic = scored_topic
        self._reject_topic = reject_topic
        self._passed_headers = frozenset(name.encode().lower() for name in passed_headers)
        self._reject_records = reject_records

    def publish(
        self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]
    ) -> tuple[Columns, Scores, list[Rejects]]:
        """Write all rows of ``columns`` and all rejects; returns them as they were written.

        A scored event that is too large to be sent becomes a reject. Raises Undone when the producer takes no more.
        """
        outbox = self._delivery.begin()
        try:
            columns, scores, oversized = self._publish_scored(outbox, batch, columns, scores)
            rejected = Rejects.merged([*rejects, oversized])
            self._publish_rejects(outbox, batch, rejected)
        except KafkaException as failure:
            raise Undone.of(error_of(failure), "publish") from failure
        self._delivery.ledger.scored += len(columns)
        self._delivery.ledger.rejected += len(rejected)
        return columns, scores, [rejected]

    def _publish_scored(
        self, outbox: Outbox, batch: Batch, columns: Columns, scores: Scores
    ) -> tuple[Columns, Scores, Rejects]:
        if not len(columns):
            return columns, scores, Rejects.of([])
        payload, ends = self._encoder.encode(batch, columns, scores)
        partition = batch.partition[columns.rows]
        values = Blobs(payload, ends, np.zeros(len(ends), np.bool_))
        outgoing = Outgoing(values, partition, columns.rows, batch.keys, batch.headers, self._passed_headers)
        too_large = outbox.write_all(self._scored_topic, outgoing)
        if not too_large:
            return columns, scores, Rejects.of([])
        oversized = Rejects.of((row, _OVERSIZED) for row in columns.rows[too_large].tolist())
        sent = np.ones(len(columns), np.bool_)
        sent[too_large] = False
        return columns.take(sent), scores.take(sent), oversized

    def _publish_rejects(self, outbox: Outbox, batch: Batch, rejects: Rejects) -> None:
        if not len(rejects):
            return
        if outbox.write_all(self._reject_topic, self._reject_records(batch, rejects)):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
