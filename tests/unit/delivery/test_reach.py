"""A consumer that no broker answers is given up after a while, and not before."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from stream_infer.delivery import reach
from stream_infer.delivery.reach import Reach
from stream_infer.embedded.ports import free_ports


@pytest.mark.parametrize(("unreached_s", "lost"), [(3600.0, False), (0.0, True)])
def test_a_consumer_without_brokers(monkeypatch, unreached_s, lost):
    monkeypatch.setattr(reach, "_UNREACHED_S", unreached_s)
    monkeypatch.setattr(reach, "_PROBE_EVERY_S", 0.0)
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    consumer = Consumer({"bootstrap.servers": nobody, "group.id": "g", "log_level": 0})
    reaching = Reach("events")
    reaching.reached()
    try:
        assert bool(reaching.lost(consumer)) is lost
    finally:
        consumer.close()


def test_brokers_are_asked_now_and_then_only():
    reaching = Reach("events")
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    try:
        reaching.lost(consumer)
        reaching.reached()
        assert not any(reaching.lost(consumer) for _ in range(1000))
    finally:
        consumer.close()
