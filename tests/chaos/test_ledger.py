"""The ledger against a real broker: it knows what was taken, also where its client is not told where to."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.embedded import EmbeddedKafka
from tests.chaos.checker import judge
from tests.chaos.evidence import UNTOLD, Evidence, Input, Outputs
from tests.chaos.ledger import Ledger
from tests.chaos.proxy import Network
from tests.chaos.proxy_frames import Api
from tests.chaos.proxy_rules import Drop, Hold, Match
from tests.chaos.reader import poison_number

pytestmark = pytest.mark.kafka

_WITHIN_S = 100.0
_GIVES_UP_MS = 4_000
_ATTEMPTS = 10


class Lines(logging.Handler):
    """What a client logs."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def count(self, text: str) -> int:
        return sum(text in line for line in self.texts)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(1) as network, EmbeddedKafka(advertised=network.advertised, progress=print) as kafka:
        network.open(kafka.inner_addresses)
        yield network
        assert not network.errors


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not done():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def read(network: Network, topic: str, count: int) -> list[Message]:
    settings = {"group.id": topic, "auto.offset.reset": "earliest", "log_level": 0}
    consumer = Consumer({"bootstrap.servers": network.servers, **settings})
    consumer.subscribe([topic])
    found: list[Message] = []
    until(lambda: len(found.extend(consumer.consume(1000, 0.1)) or found) >= count)
    found += consumer.consume(1000, 1.0)  # were there more
    consumer.close()
    return found


def test_an_event_that_a_later_answer_acknowledges_is_known_by_its_name(network: Network) -> None:
    """The answer to a batch is lost, the next batch is answered: the client reports the first one without an offset.

    It must be found where the client gives the first one up, and still waits for the next.
    """
    topic, lines, logger = f"t{uuid.uuid4().hex[:8]}", Lines(), logging.Logger("ledger")
    logger.addHandler(lines)
    admin = AdminClient({"bootstrap.servers": network.servers, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    client = {"socket.timeout.ms": _GIVES_UP_MS, "socket.max.fails": 0, "log_level": 5, "logger": logger}
    ledger = Ledger(network.servers, topic, 1, 100.0, poison=1.0, seed=1, client=client)
    ledger.start()
    acked = ledger.acked
    until(lambda: len(acked.number) > 0)
    ledger.hold()
    until(lambda: len(acked.number) == ledger.sent_count)
    for _ in range(_ATTEMPTS):
        sent, given_up = ledger.sent_count + ledger.injected_count, lines.count("Timed out ProduceRequest")
        with network.rule(Drop(Match((Api.PRODUCE,)), response=True, count=1)) as lost:
            ledger.inject(b"first", 0)
            lost.wait_taken()
        time.sleep(_GIVES_UP_MS / 2000)  # the next one is given up later, by so much
        with network.rule(Hold(Match((Api.PRODUCE,)), response=True, count=1)) as late:
            ledger.inject(b"second", 0)
            late.wait_taken()
            until(lambda before=given_up: lines.count("Timed out ProduceRequest") > before)  # type: ignore[misc]
        until(lambda count=sent + 2: len(acked.number) == count)  # type: ignore[misc]
        if UNTOLD in acked.offset:
            break
    ledger.finish()
    found = read(network, topic, len(acked.number))
    number = np.array([poison_number(message.key()) for message in found])
    partition, offset = np.zeros(len(found), np.int32), np.array([message.offset() for message in found])

    assert UNTOLD in acked.offset
    assert not ledger.indeterminate
    nothing, source = Outputs.joined([]), Input(partition, offset, number, np.full(len(found), np.nan))
    evidence = Evidence(np.array(acked.number), acked.source, set(), source, nothing, nothing, [], {}, {})
    assert "ledger" not in judge(evidence).counts
