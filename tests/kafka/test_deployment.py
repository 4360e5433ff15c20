"""What the tests of delivery stand on: their reader sees everything there is."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer

from tests.conftest import TopicFactory
from tests.kafka.deployment import stop_reading_at_end

pytestmark = pytest.mark.kafka


def test_the_reader_waits_for_what_an_open_transaction_hides(kafka: str, topic: TopicFactory) -> None:
    name = topic("hidden")
    left_open = Producer({"bootstrap.servers": kafka, "transactional.id": f"{name}.open"})
    left_open.init_transactions(60)
    left_open.begin_transaction()
    left_open.produce(name, b"never committed")
    assert left_open.flush(60) == 0
    plain = Producer({"bootstrap.servers": kafka})
    plain.produce(name, b"behind it")
    assert plain.flush(60) == 0

    ending = threading.Timer(1.0, left_open.abort_transaction)
    ending.start()
    found = [message.value() for message in stop_reading_at_end(kafka, name)]
    ending.join()

    assert found == [b"behind it"]
