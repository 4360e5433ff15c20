"""A producer that knows what the brokers took: every event is acknowledged, or its fate is open."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from confluent_kafka import KafkaException, Message, Producer
from numpy.typing import NDArray

from load.clients import FAILOVER
from load.events import HOSTS, pairs
from load.poison import POISON
from tests.chaos.evidence import UNTOLD, key_of

__all__ = ["EVENT_ID_DIGITS", "INJECTED_FROM", "Ledger", "event_number", "poison_key"]

EVENT_ID_DIGITS = (3, 9)
"""An event's id is its host's number, a dash, its step: "007-000000123"."""
INJECTED_FROM = 1 << 40
_TICK_S = 0.02
_ACKED_WITHIN_MS = 300_000
_OUTSTANDING_MAX = 50_000


def event_number(host: int, step: int) -> int:
    """The number of the event with this id."""
    return step * HOSTS + host


def poison_key(number: int) -> bytes:
    """The key of a poison record: a reject keeps it."""
    return b"poison-%d" % number


@dataclass
class Entries:
    """Acknowledged events, column by column.

    The offset of some is UNTOLD. When an answer is lost and the next batch of the partition is acknowledged, the client
    concludes that the lost one was taken, too (librdkafka, ``rd_kafka_dr_implicit_ack``): where, it never hears.
    """

    number: array[int] = field(default_factory=lambda: array("q"))
    partition: array[int] = field(default_factory=lambda: array("q"))
    offset: array[int] = field(default_factory=lambda: array("q"))

    @property
    def source(self) -> NDArray[np.int64]:
        """The positions as one number each."""
        return key_of(np.array(self.partition, np.int64), np.array(self.offset, np.int64))


class Ledger(threading.Thread):
    """Sends events at a steady rate until ``finish``; a share of them, chosen by the seed, is poison.

    Event n goes to partition ``n % HOSTS % partitions``. ``acked`` are in the topic for good, ``indeterminate``
    ones may or may not be. ``deadly`` are injected ones that must be rejected although a model could score them.
    ``client`` are settings of the producer beside its own.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        partitions: int,
        rate: float,
        *,
        poison: float,
        seed: int,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name="ledger", daemon=True)
        self.topic = topic
        self.partitions = partitions
        self.rate = rate
        self.poison = poison
        self.acked = Entries()
        self.indeterminate: set[int] = set()
        self.deadly: set[int] = set()
        self.sent_count = 0
        self.injected_count = 0
        self.error: BaseException | None = None
        self._servers = servers
        self._client = dict(client or {})
        self._random = np.random.default_rng(seed)
        self._pending: set[int] = set()
        self._ending = threading.Event()
        self._holding = threading.Event()
        self._lock = threading.Lock()
        self._fatal = False
        self._producer: Any = None

    def run(self) -> None:
        """Send; a fatal error of the producer leaves the fate of what it held open, and a new one goes on."""
        try:
            self._open()
            began, start = time.monotonic(), 0
            while not self._ending.wait(_TICK_S):
                if self._fatal:
                    self._reopen()
                if self._holding.is_set() or len(self._pending) > _OUTSTANDING_MAX:
                    self._producer.poll(0.05)
                    began, start = time.monotonic(), self.sent_count
                    continue
                due = start + int((time.monotonic() - began) * self.rate)
                if due > self.sent_count:
                    self._send(due - self.sent_count)
                self._producer.poll(0)
        except BaseException as error:  # noqa: BLE001 - told by finish()
            self.error = error

    def hold(self) -> None:
        """Send nothing until ``go_on``."""
        self._holding.set()

    def go_on(self) -> None:
        """Send again."""
        self._holding.clear()

    def inject(self, value: bytes | None, partition: int, *, deadly: bool = False) -> int:
        """Send a payload that must become a reject. Returns its number."""
        with self._lock:
            number = INJECTED_FROM + self.injected_count
            self.injected_count += 1
            if deadly:
                self.deadly.add(number)
            self._produce(number, poison_key(number), value, partition)
        return number

    def finish(self, timeout_s: float = 180.0) -> None:
        """Stop sending and wait for what is under way; what has no answer then is indeterminate."""
        self._ending.set()
        if self.ident is not None:
            self.join(timeout_s)
        if self.error is not None:
            raise RuntimeError("the ledger's producer failed") from self.error
        if self._producer is not None:
            self._producer.flush(timeout_s)
            self.indeterminate |= self._pending
            self._pending = set()

    def _open(self) -> None:
        self._fatal = False
        self._producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 10,
                "compression.type": "lz4",
                "message.timeout.ms": _ACKED_WITHIN_MS,
                "queue.buffering.max.messages": 2 * _OUTSTANDING_MAX,
                **FAILOVER,
                "log_level": 0,
                "error_cb": self._on_error,
                **self._client,
            }
        )

    def _reopen(self) -> None:
        old = self._producer
        old.flush(5)
        self.indeterminate |= self._pending
        self._pending = set()
        self._open()

    def _send(self, count: int) -> None:
        numbers = np.arange(self.sent_count, self.sent_count + count)
        times = np.full(count, time.time_ns() // 1_000_000)
        keys, values = pairs(self.sent_count, count, times)
        bad = self._random.random(count) < self.poison
        targets = (numbers % HOSTS % self.partitions).tolist()
        for i, (key, value, number) in enumerate(zip(keys, values, numbers.tolist(), strict=True)):
            if bad[i]:
                self._produce(number, poison_key(number), POISON[number % len(POISON)], targets[i])
            else:
                self._produce(number, key, value, targets[i])
            self.sent_count += 1

    def _produce(self, number: int, key: bytes, value: bytes | None, target: int) -> None:
        self._pending.add(number)
        while True:
            try:
                self._producer.produce(
                    self.topic, value, key, target, on_delivery=partial(self._on_delivery, number)
                )
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException:
                if not self._fatal:
                    raise
                self._pending.discard(number)  # it was never sent: the producer is dead
                self._reopen()
                self._pending.add(number)
            else:
                return

    def _on_delivery(self, number: int, error: Any, message: Message) -> None:
        if number not in self._pending:
            return  # told too late: it counts as indeterminate
        self._pending.discard(number)
        if error is not None:
            self.indeterminate.add(number)
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None, "every event is sent to a partition"
        self.acked.number.append(number)
        self.acked.partition.append(partition)
        self.acked.offset.append(UNTOLD if offset is None else offset)

    def _on_error(self, error: Any) -> None:
        if error.fatal():
            self._fatal = True
