"""What the primary wrote, from its two topics: scored events decoded in columns, rejects read from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from stream_infer.delivery.source import batch_of
from stream_infer.log import get_logger
from stream_infer.records import Batch, Columns, Headers, Rejects, Text
from stream_infer.rejects import Reject
from stream_infer.shadow import batches
from stream_infer.shadow.rows import RejectRows, ScoredRows

__all__ = ["NAME", "NUMBERS", "VERSION", "PrimaryReader", "ScoredDecoder"]

_LOG = get_logger(__name__)

NUMBERS = ("score", "threshold", "is_anomaly", "window_full", "source_partition", "source_offset")
"""The numeric fields of a scored event that a pair needs; the decoder gives them as features in this order."""

NAME, VERSION = "model_name", "model_version"
"""The text fields that a pair needs; the decoder gives them as entity and event id."""

_PARTITION, _OFFSET = 4, 5


class Decoded(Protocol):
    """What the decoder returns."""

    columns: Columns
    rejects: Rejects
    waiting: NDArray[np.int64]


class ScoredDecoder(Protocol):
    """Decodes scored events with ``NUMBERS`` as the features, ``NAME`` as the entity, ``VERSION`` as the event id."""

    def decode(self, batch: Batch) -> Decoded:
        """Decode every row."""


class PrimaryReader:
    """Records of the scored and the reject topic -> rows, by partition.

    ``unusable_count`` counts the records that are no result of an event of ``input_topic`` in their own partition.
    """

    def __init__(self, decoder: ScoredDecoder, input_topic: str) -> None:
        self.unusable_count = 0
        self._decoder = decoder
        self._input_topic = input_topic

    def scored(self, messages: Sequence[Message]) -> tuple[list[tuple[int, ScoredRows]], list[Message]]:
        """Rows with their partition, and the messages from the first one on whose schema cannot be had now."""
        batch = batch_of(list(messages))
        decoded = self._decoder.decode(batch)
        columns, usable = decoded.columns, len(batch)
        if len(decoded.waiting):
            usable = int(decoded.waiting[0])
            columns = columns.take(columns.rows < usable)
        own = columns.features[:, _PARTITION] == batch.partition[columns.rows]
        columns = columns if own.all() else columns.take(own)
        self._miss(usable - len(columns), "scored")
        if len(columns) < len(batch):
            there = np.zeros(len(batch), np.bool_)
            there[columns.rows] = True
            batch = batch.take(there)
        rows = ScoredRows(
            columns.features[:, _OFFSET].astype(np.int64),
            batch,
            columns.features[:, :_PARTITION],
            _models(columns.entity, columns.event_id),
        )
        found = [(p, rows.cut(start, stop)) for p, start, stop in batches.runs(batch)]
        return found, list(messages[usable:])

    def rejected(self, messages: Sequence[Message]) -> list[tuple[int, RejectRows]]:
        """Rows with their partition."""
        found: list[tuple[Message, Reject]] = []
        for message in messages:
            reject = Reject.parse(cast("Headers", message.headers()))
            if reject is not None and self._is_own(reject, message):
                found.append((message, reject))
        self._miss(len(messages) - len(found), "reject")
        if not found:
            return []
        rows = RejectRows(
            np.array([reject.source.offset for _, reject in found], np.int64),
            batch_of([message for message, _ in found]),
            [reject for _, reject in found],
        )
        return [(p, rows.cut(start, stop)) for p, start, stop in batches.runs(rows.batch)]

    def _is_own(self, reject: Reject, message: Message) -> bool:
        source = reject.source
        return source.topic == self._input_topic and source.partition == message.partition()

    def _miss(self, count: int, topic: str) -> None:
        if count and not self.unusable_count:
            _LOG.warning("records that are no results of our input are left out", topic=topic)
        self.unusable_count += count


def _models(name: Text, version: Text | None) -> list[tuple[bytes, bytes]]:
    """(name, version) of each row. Nearly always the same in all, which costs no pass in Python."""
    assert version is not None
    if not len(name):
        return []
    if _uniform(name) and _uniform(version):
        return [(name[0], version[0])] * len(name)
    return [(name[row], version[row]) for row in range(len(name))]


def _uniform(text: Text) -> bool:
    length = int(text.length[0])
    if (text.length != length).any():
        return False
    letters = text.data[text.start[:, None] + np.arange(length)]
    return bool((letters == letters[0]).all())
