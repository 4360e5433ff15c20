"""The scores that one model gave lately, read back from the scored topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from stream_infer.delivery.source import batch_of
from stream_infer.records import Batch, Columns
from stream_infer.topic_reader import TopicReader

__all__ = ["RecentScores", "recent_scores"]


class Decoded(Protocol):
    """What a decoder gives."""

    columns: Columns


class ScoredDecoder(Protocol):
    """Decodes scored events with the score as the only feature and the model's version as the event id."""

    def decode(self, batch: Batch) -> Decoded:
        """Decode every row."""


class RecentScores(NamedTuple):
    """``entity`` (n) indexes ``names``; ``score`` (n)."""

    names: tuple[bytes, ...]
    entity: NDArray[np.int64]
    score: NDArray[np.float64]


def recent_scores(reader: TopicReader, decoder: ScoredDecoder, version: str, since_ms: int) -> RecentScores:
    """Scores that are in the topic now, written since then (epoch ms), by the model of this version.

    Raises BrokerError where the topic is missing or the brokers are silent for too long.
    """
    numbers: dict[bytes, int] = {}
    entities: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    scores: list[NDArray[np.float64]] = [np.zeros(0)]
    for messages in reader.chunks(reader.spans(since_ms)):
        columns = _of_version(decoder, messages, version.encode())
        codes = [numbers.setdefault(columns.entity[row], len(numbers)) for row in range(len(columns))]
        entities.append(np.array(codes, np.int64))
        scores.append(columns.features[:, 0])
    return RecentScores(tuple(numbers), np.concatenate(entities), np.concatenate(scores))


def _of_version(decoder: ScoredDecoder, messages: Sequence[Message], version: bytes) -> Columns:
    columns = decoder.decode(batch_of(list(messages))).columns
    assert columns.event_id is not None  # it carries the version
    return columns.take(columns.event_id.equal(version))
