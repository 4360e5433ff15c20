"""Reads the output topics: once through all faults, once afterwards, with the same code."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from load.check import scored_decoder
from load.clients import FAILOVER
from stream_infer.delivery.source import batch_of
from stream_infer.records import Text
from stream_infer.rejects import Reject
from tests.chaos import manifest
from tests.chaos.evidence import REJECTED, SCORED, Manifest, Outputs
from tests.chaos.ledger import event_number

__all__ = ["OutputReader", "Reader", "Topics", "event_numbers", "offsets_of", "poison_number"]

_AT_ONCE = 5_000
_SILENT_S = 10.0
_ANSWER_S = 60.0
_END = KafkaError._PARTITION_EOF
_Place = tuple[str, int]


class Topics:
    """The topics of one deployment."""

    def __init__(self, app: str, partitions: int) -> None:
        self.partitions = partitions
        self.input = f"{app}.events"
        self.scored = f"{app}.events.scored"
        self.rejected = f"{app}.events.rejected"
        self.state = f"{app}.state"
        self.manifest = f"{app}.manifest"

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [self.input, self.scored, self.rejected, self.state, self.manifest]

    @property
    def outputs(self) -> list[_Place]:
        """Every partition that a reader reads."""
        each = [(topic, p) for topic in (self.scored, self.rejected) for p in range(self.partitions)]
        return [*each, (self.manifest, 0)]


class Reader(threading.Thread):
    """Reads places of a cluster from their beginnings, until ``finish`` names their ends.

    ``take`` is called in the thread with lists of good messages of one topic and the wall clock time they came at.
    """

    def __init__(self, servers: str, places: list[_Place], isolation: str = "read_committed") -> None:
        super().__init__(name=f"reader-{isolation}", daemon=True)
        self._servers = servers
        self._places = places
        self._isolation = isolation
        self._next: dict[_Place, int] = dict.fromkeys(places, 0)
        self._read_to: dict[_Place, int] = dict.fromkeys(places, 0)
        self._ends: dict[_Place, int] | None = None
        self.error: BaseException | None = None
        self.replaced_count = 0

    def take(self, topic: str, messages: list[Message], now_s: float) -> None:
        """What to do with messages."""
        raise NotImplementedError

    def run(self) -> None:
        """Read; a client that hears nothing for long is replaced (librdkafka may forget all brokers)."""
        consumer = self._consumer()
        heard = time.monotonic()
        try:
            while not self._done():
                messages = consumer.consume(_AT_ONCE, 0.1)
                if messages:
                    heard = time.monotonic()
                    self._sort(messages)
                elif time.monotonic() - heard > _SILENT_S:
                    consumer.close()
                    consumer, heard = self._consumer(), time.monotonic()
                    self.replaced_count += 1
        except BaseException as error:  # noqa: BLE001 - told by finish()
            self.error = error
        finally:
            consumer.close()

    def finish(self, ends: dict[_Place, int], timeout_s: float = 120.0) -> None:
        """Wait until everything before these ends is read. Raises TimeoutError, or what the reader met."""
        self._ends = ends
        self.join(timeout_s)
        if self.error is not None:
            raise RuntimeError("a reader failed") from self.error
        if self.is_alive():
            missing = {
                place: (self._read_to[place], end)
                for place, end in ends.items()
                if self._read_to[place] < end
            }
            raise TimeoutError(f"not read to the ends: {missing}")

    def _done(self) -> bool:
        ends = self._ends
        return ends is not None and all(self._read_to[place] >= end for place, end in ends.items())

    def _sort(self, messages: list[Message]) -> None:
        now = time.time()
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            place = message.topic() or "", message.partition() or 0
            error = message.error()
            if error is None:
                by_topic.setdefault(place[0], []).append(message)
                self._next[place] = self._read_to[place] = (message.offset() or 0) + 1
            elif error.code() == _END:
                self._next[place] = self._read_to[place] = max(self._read_to[place], message.offset() or 0)
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
        for topic, good in by_topic.items():
            self.take(topic, good, now)

    def _consumer(self) -> Any:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "isolation.level": self._isolation,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 10,
                **FAILOVER,
                "log_level": 0,
                "error_cb": lambda _: None,
            }
        )
        consumer.assign([TopicPartition(topic, p, self._next[topic, p]) for topic, p in self._places])
        return consumer


class OutputReader(Reader):
    """Collects scored events, rejects and manifests."""

    def __init__(self, servers: str, topics: Topics) -> None:
        super().__init__(servers, topics.outputs)
        self._topics = topics
        self._ids = scored_decoder("event_id")
        self._parts: list[Outputs] = []
        self.manifests: list[Manifest] = []

    def take(self, topic: str, messages: list[Message], now_s: float) -> None:
        """Decode at once: columns are a tenth of the messages."""
        if topic == self._topics.scored:
            self._parts.append(self._scored(messages, now_s))
        elif topic == self._topics.rejected:
            self._parts.append(_rejected(messages, now_s))
        else:
            self.manifests += [manifest.parse(m.value() or b"") for m in messages]

    def outputs(self) -> Outputs:
        """Everything so far, sorted."""
        return Outputs.joined(self._parts)

    @property
    def parts(self) -> list[Outputs]:
        """In the order of arrival."""
        return self._parts

    def _scored(self, messages: list[Message], now_s: float) -> Outputs:
        batch = batch_of(messages)
        decoded = self._ids.decode(batch)
        if len(decoded.columns) != len(batch):
            raise RuntimeError(f"scored events cannot be read: {decoded.rejects.faults[:1]}")
        columns = decoded.columns
        values, count = columns.features, len(batch)
        return Outputs(
            np.full(count, SCORED, np.int8),
            batch.partition,
            batch.offset,
            values[:, 1].astype(np.int64),
            values[:, 2].astype(np.int64),
            event_numbers(columns.entity),
            values[:, 0].astype(np.float64),
            columns.time_ms,
            np.full(count, now_s),
        )


def _rejected(messages: list[Message], now_s: float) -> Outputs:
    rows = []
    for message in messages:
        found = Reject.parse(message.headers())  # type: ignore[arg-type]
        if found is None:
            raise RuntimeError(f"a record of the reject topic is no reject: {message.headers()}")
        number = poison_number(message.key())
        rows.append(
            (message.partition(), message.offset(), found.source.partition, found.source.offset, number)
        )
    table, count = np.array(rows, np.int64), len(rows)
    return Outputs(
        np.full(count, REJECTED, np.int8),
        table[:, 0].astype(np.int32),
        table[:, 1],
        table[:, 2],
        table[:, 3],
        table[:, 4],
        np.full(count, np.nan),
        np.zeros(count, np.int64),
        np.full(count, now_s),
    )


def poison_number(key: bytes | None) -> int:
    """The number of a poison record by its key; -1 for another key."""
    name, _, digits = (key or b"").partition(b"-")
    return int(digits) if name == b"poison" and digits.isdigit() else -1


def event_numbers(ids: Text) -> NDArray[np.int64]:
    """Numbers of events by their ids ("007-000000123"), all at once; -1 for an id of another form."""
    good = np.flatnonzero(ids.length == 13)
    numbers = np.full(len(ids), -1, np.int64)
    if len(good):
        text = ids.data[ids.start[good][:, None] + np.arange(13)]
        digits = np.delete(text, 3, axis=1).astype(np.int64) - ord("0")
        host = digits[:, :3] @ 10 ** np.arange(2, -1, -1)
        step = digits[:, 3:] @ 10 ** np.arange(8, -1, -1)
        fine = (text[:, 3] == ord("-")) & ((digits >= 0) & (digits <= 9)).all(axis=1)
        numbers[good] = np.where(fine, event_number(host, step), -1)  # type: ignore[call-overload]
    return numbers


def offsets_of(servers: str, places: list[_Place], isolation: str) -> dict[_Place, int]:
    """Ends of these places: the high watermark, or with read_committed the last stable offset."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "ends", "isolation.level": isolation, "log_level": 0}
    )
    deadline = time.monotonic() + _ANSWER_S
    try:
        while True:
            try:
                return {p: consumer.get_watermark_offsets(TopicPartition(*p), 10)[1] for p in places}
            except KafkaException:  # a leader is being chosen, or the machine is slow
                if time.monotonic() > deadline:
                    raise
    finally:
        consumer.close()
