"""What the checker is fed with is what the brokers have: open transactions show, aborted records do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Message, Producer

from tests.chaos.reader import Reader, offsets_of

pytestmark = pytest.mark.kafka


class Values(Reader):
    def __init__(self, servers: str, topic: str) -> None:
        super().__init__(servers, [(topic, 0)])
        self.values: list[bytes | None] = []

    def take(self, topic: str, messages: list[Message], now_s: float) -> None:
        self.values += [m.value() for m in messages]


def test_an_open_transaction_shows_and_an_aborted_record_does_not(
    kafka: str, topic: Callable[..., str]
) -> None:
    name = topic()
    place = [(name, 0)]
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    producer.init_transactions(60)
    for value, end in ((b"kept", "commit"), (b"dropped", "abort"), (b"open", "")):
        producer.begin_transaction()
        producer.produce(name, value, partition=0)
        producer.flush(60)
        if end:
            getattr(producer, f"{end}_transaction")(60)
    high = offsets_of(kafka, place, "read_uncommitted")
    stable = offsets_of(kafka, place, "read_committed")

    assert high[name, 0] - stable[name, 0] == 1

    producer.commit_transaction(60)
    producer.close(5)
    reader = Values(kafka, name)
    reader.start()
    reader.finish(offsets_of(kafka, place, "read_uncommitted"), 60)

    assert offsets_of(kafka, place, "read_committed") == offsets_of(kafka, place, "read_uncommitted")
    assert reader.values == [b"kept", b"open"]
