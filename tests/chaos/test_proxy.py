"""The proxy against a real broker: what it leaves alone works, and each deed does what it says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from random import Random

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from stream_infer.embedded import EmbeddedKafka
from tests.chaos.proxy import Network
from tests.chaos.proxy_frames import Api
from tests.chaos.proxy_rules import Cut, Delay, Drop, Hold, Match, Rule
from tests.kafka.comparisons import create
from tests.kafka.deployment import ends

pytestmark = pytest.mark.kafka

QUIET = {
    "log_level": 0,
    "error_cb": lambda _: None,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 100,
}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(1) as network, EmbeddedKafka(advertised=network.advertised, progress=print) as kafka:
        network.open(kafka.inner_addresses)
        yield network
        assert not network.errors


@pytest.fixture
def topic(network: Network) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:8]}"
    create(network.servers, name, 1)
    yield name
    network.calm()


def producer(network: Network, **settings: object) -> Producer:
    return Producer({"bootstrap.servers": network.servers, "enable.idempotence": True, **QUIET, **settings})


def send(one: Producer, topic: str, count: int = 1) -> list[KafkaError | None]:
    errors: list[KafkaError | None] = []
    for number in range(count):
        one.produce(topic, str(number).encode(), on_delivery=lambda error, _: errors.append(error))
    one.flush(60)
    return errors


def read(network: Network, topic: str, count: int) -> list[bytes]:
    settings = {"group.id": topic, "auto.offset.reset": "earliest", "client.id": "reader"}
    consumer = Consumer({"bootstrap.servers": network.servers, **settings, **QUIET})
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + 120
    while len(values) < count and time.monotonic() < deadline:
        values += [m.value() for m in consumer.consume(100, 0.1) if m.error() is None]
    consumer.close()
    return values


def test_clients_learn_of_nothing_but_the_proxy(network: Network, topic: str) -> None:
    told = AdminClient({"bootstrap.servers": network.servers, **QUIET}).list_topics(timeout=60)
    before = network.passed["PRODUCE"], network.passed["FETCH"], network.passed["CONSUMER_GROUP_HEARTBEAT"]
    assert send(producer(network), topic, 50) == [None] * 50
    assert len(read(network, topic, 50)) == 50
    after = network.passed["PRODUCE"], network.passed["FETCH"]

    assert {f"{broker.host}:{broker.port}" for broker in told.brokers.values()} == {network.servers}
    assert all(b > a for a, b in zip(before, after, strict=False))


def test_a_held_request_arrives_when_it_is_released(network: Network, topic: str) -> None:
    one = producer(network)
    with network.rule(Hold(Match((Api.PRODUCE,)), count=1)) as hold:
        one.produce(topic, b"late")
        one.poll(0)
        hold.wait_taken()
        assert one.flush(0.5) == 1
        hold.release()
        assert one.flush(60) == 0
    assert read(network, topic, 1) == [b"late"]


def test_a_request_whose_client_hung_up_is_delivered_late(network: Network, topic: str) -> None:
    """Without idempotence the retry and the late original are two records: the anomaly in its smallest form."""
    plain = {"enable.idempotence": False, "acks": "all"}
    with network.rule(Hold(Match((Api.PRODUCE,)), count=1, hang_up=True)) as hold:
        assert send(producer(network, **plain), topic) == [None]
        hold.release()
        assert read(network, topic, 2) == [b"0", b"0"]


def test_a_dropped_answer_is_of_a_request_that_was_carried_out(network: Network, topic: str) -> None:
    plain = {"enable.idempotence": False, "acks": "all", "socket.timeout.ms": 1000}
    with network.rule(Drop(Match((Api.PRODUCE,)), response=True, count=1)) as drop:
        assert send(producer(network, **plain), topic) == [None]
    assert drop.taken == 1
    found = read(network, topic, 2)
    assert len(found) >= 2  # one more for each answer that a busy broker gave too late
    assert {*found} == {b"0"}


def test_a_dropped_or_cut_request_was_never_carried_out(network: Network, topic: str) -> None:
    plain = {"enable.idempotence": False, "acks": "all"}
    before = network.passed["PRODUCE"]
    with network.rule(Drop(Match((Api.PRODUCE,)), count=1)) as drop:
        assert send(producer(network, **plain, **{"socket.timeout.ms": 1000}), topic) == [None]
    with network.rule(Cut(Match((Api.PRODUCE,)), count=1, skip=1)) as cut:
        one = producer(network, **plain)
        assert send(one, topic) == [None]
        assert cut.taken == 0
        assert send(one, topic) == [None]
    assert (drop.taken, cut.taken) == (1, 1)
    others = network.passed["PRODUCE"] - before - 2  # three, and one more for each answer that came too late
    assert others >= 3
    read(network, topic, others)
    assert ends(network.servers, topic) == {0: others}


def test_idempotence_takes_a_cut_answer_for_what_it_is(network: Network, topic: str) -> None:
    rule = Cut(Match((Api.PRODUCE,), chance=0.3, random=Random(1)), response=True)
    with network.rule(rule) as cut:
        one = producer(network)
        for _ in range(30):
            assert send(one, topic) == [None]
    assert cut.taken >= 3
    assert len(read(network, topic, 30)) == 30


def test_latency_is_added_to_each_request_and_does_not_add_up(network: Network, topic: str) -> None:
    one = producer(network, **{"linger.ms": 0, "batch.num.messages": 1})
    assert send(one, topic) == [None]
    with network.rule(Delay(Match((Api.PRODUCE,)), 0.5, random=Random(1))) as delay:
        began = time.monotonic()
        assert send(one, topic, 20) == [None] * 20
        took = time.monotonic() - began
    assert delay.taken >= 4
    assert 0.5 < took < 0.5 * delay.taken  # up to five requests are on their way at once


@pytest.mark.parametrize("silent", [False, True])
def test_a_severed_client_hears_nothing_and_others_do(network: Network, topic: str, silent: bool) -> None:
    one = producer(network, **{"client.id": "victim"})
    other = producer(network, **{"client.id": "other"})
    assert send(one, topic) == [None]
    with network.severed("victim", silent=silent):
        one.produce(topic, b"1")
        assert one.flush(1.0) == 1
        assert send(other, topic) == [None]
    assert one.flush(60) == 0
    assert len(read(network, topic, 3)) == 3


def test_everyone_is_severed_from_a_node(network: Network, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": network.servers, **QUIET})
    assert admin.list_topics(timeout=60).brokers
    with network.severed(node=1, silent=False), pytest.raises(KafkaException):
        admin.list_topics(timeout=1)
    with network.severed(node=2, silent=False):
        assert admin.list_topics(timeout=60).brokers


def test_commits_and_aborts_are_told_apart(network: Network, topic: str) -> None:
    one = producer(network, **{"transactional.id": topic})
    commits = network.add(Rule(Match((Api.END_TXN,), transactional_id=topic, committed=True)))
    aborts = network.add(Rule(Match((Api.END_TXN,), transactional_id=topic, committed=False)))
    answers = network.add(Rule(Match((Api.END_TXN,), transactional_id=topic), response=True))
    others = network.add(Rule(Match((Api.END_TXN,), transactional_id="another")))
    one.init_transactions(60)
    for end in (one.commit_transaction, one.abort_transaction, one.commit_transaction):
        one.begin_transaction()
        send(one, topic)
        end(60)

    assert (commits.taken, aborts.taken, answers.taken, others.taken) == (2, 1, 3, 0)
