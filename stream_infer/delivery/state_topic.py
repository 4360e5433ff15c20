"""The compacted topic that entity state is written to, and read back from.

A record is one entity (key ``e`` + name) or the partition's marker (key ``m``). Each entity's record says as of which
input offset it holds; the marker says from which input offset a replay must start so that nothing is missing.
Both are written inside the delivery, so they never disagree with the committed offsets.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.settings import Settings
from stream_infer.errors import BrokerError
from stream_infer.log import get_logger

__all__ = ["MARKER_KEY", "Marker", "StateReader"]

_LOG = get_logger(__name__)
_MARKER = struct.Struct("<Bqq")
_MARKER_VERSION = 1
_RECORDS_PER_READ = 2_000
_CONNECT_S = 2.0

MARKER_KEY = b"m"

Load = Callable[[int, Sequence[bytes], Sequence[bytes | None]], int]
"""Takes state records of one partition in topic order; returns how many it could not use."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A partition's marker: replay the input from ``replay_from``; the state holds nothing from ``position`` on."""

    replay_from: int
    position: int

    def pack(self) -> bytes:
        """The value of the record."""
        return _MARKER.pack(_MARKER_VERSION, self.replay_from, self.position)

    @classmethod
    def unpack(cls, value: bytes | None) -> Marker | None:
        """Read a value; None for a tombstone or a form this version does not know."""
        if value is None or len(value) != _MARKER.size:
            return None
        version, replay_from, position = _MARKER.unpack(value)
        return cls(replay_from, position) if version == _MARKER_VERSION else None


class StateReader:
    """Reads whole partitions of the state topic, a slice per call, so that its caller can go on polling."""

    def __init__(self, settings: Settings, topic: str, load: Load) -> None:
        self._settings = settings
        self._topic = topic
        self._load = load
        self._consumer: Any = None
        self._markers: dict[int, Marker | None] = {}
        self._unfinished: set[int] = set()
        self._heard_at = 0.0

    def open(self) -> None:
        """Connect to the topic's brokers in the background, so that the first restore does not wait for that."""
        self._consumer = Consumer(dict(self._settings), logger=ClientLog(_LOG))
        with suppress(KafkaException):  # the brokers are not there yet
            found = self._consumer.list_topics(self._topic, _CONNECT_S).topics[self._topic]
            self._consumer.assign([TopicPartition(self._topic, p, OFFSET_END) for p in found.partitions])

    def start(self, partitions: Iterable[int]) -> None:
        """Begin to read these partitions from their beginning; what was being read is forgotten."""
        self._heard_at = time.monotonic()
        self._unfinished = set(partitions)
        self._markers = dict.fromkeys(self._unfinished)
        self._consumer.assign(
            [TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in sorted(self._unfinished)]
        )

    @property
    def silent_s(self) -> float:
        """For how long nothing has come of what is being read, not even an end."""
        return time.monotonic() - self._heard_at

    def step(self, wait_s: float) -> dict[int, Marker | None] | None:
        """Read a slice. The markers by partition when all are read to their end, None before that."""
        if self._unfinished:
            self._take(self._consumer.consume(_RECORDS_PER_READ, wait_s))
        if self._unfinished:
            return None
        self._consumer.unassign()
        return self._markers

    def close(self) -> None:
        """Let go of the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _take(self, messages: list[Message]) -> None:
        entities: dict[int, tuple[list[bytes], list[bytes | None]]] = {}
        if messages:
            self._heard_at = time.monotonic()
        for message in messages:
            error, partition = message.error(), message.partition()
            if error is not None or partition is None:
                self._meet(error, message)
            elif message.key() == MARKER_KEY:
                self._markers[partition] = Marker.unpack(message.value())
            else:
                keys, values = entities.setdefault(partition, ([], []))
                keys.append(message.key() or b"")
                values.append(message.value())
        for partition, (keys, values) in entities.items():
            unusable = self._load(partition, keys, values)
            if unusable:
                _LOG.warning("state records of another model or damaged are ignored", count=unusable)

    def _meet(self, error: Any, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - confluent-kafka's public name for it
            self._unfinished.discard(message.partition())
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise BrokerError(f"state topic {self._topic!r}: {error.str()}. Cure: grant Read and Write on it")
        elif error.fatal():
            raise BrokerError(f"state topic {self._topic!r}: {error.str()}. Cure: start the worker again")
        else:
            _LOG.warning("state reader error", code=error.name(), reason=error.str())
