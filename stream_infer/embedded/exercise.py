"""What clients ask of a broker first: the training run of its AOT cache."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

__all__ = ["exercise"]

_TOPIC: Final = "exercise"
_PARTITIONS = 3
_TRANSACTIONS = 20
_RECORDS = 500
_DEADLINE_S = 20.0


def exercise(bootstrap_servers: str, protocols: Iterable[str]) -> None:
    """Create a topic, write to it in transactions, read it by each of the group protocols, delete it."""
    base: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "log_level": 0,
        "error_cb": lambda _: None,
    }
    admin = AdminClient(base)
    admin.create_topics([NewTopic(_TOPIC, _PARTITIONS, 1)])[_TOPIC].result(_DEADLINE_S)
    _produce(base)
    for protocol in protocols:
        _consume(base, protocol)
    admin.delete_topics([_TOPIC])[_TOPIC].result(_DEADLINE_S)


def _produce(base: dict[str, Any]) -> None:
    producer = Producer({**base, "transactional.id": _TOPIC, "compression.type": "lz4"})
    producer.init_transactions(_DEADLINE_S)
    for _ in range(_TRANSACTIONS):
        producer.begin_transaction()
        for number in range(_RECORDS):
            producer.produce(_TOPIC, bytes(300), key=b"key", partition=number % _PARTITIONS)
        producer.commit_transaction(_DEADLINE_S)


def _consume(base: dict[str, Any], protocol: str) -> None:
    settings = {"group.id": protocol, "group.protocol": protocol, "auto.offset.reset": "earliest"}
    consumer = Consumer({**base, **settings, "enable.auto.commit": False})
    consumer.subscribe([_TOPIC])
    seen, deadline = 0, time.monotonic() + _DEADLINE_S
    while seen < _TRANSACTIONS * _RECORDS and time.monotonic() < deadline:
        seen += len(consumer.consume(1000, 0.2))
    with suppress(KafkaException):  # nothing was read in time: the cache is recorded from less
        consumer.commit(asynchronous=False)
    consumer.close()
