"""What the network and a dead client do to a worker."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaException, Producer

from stream_infer.delivery.delivery import Outbox, Undone
from stream_infer.delivery.settings import producer_settings
from stream_infer.embedded import EmbeddedKafka
from tests.chaos.proxy import Network
from tests.kafka.comparisons import create
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, stop_reading_at_end

pytestmark = pytest.mark.kafka

_OUTAGE_S = 6.0


@pytest.fixture
def fenced(kafka: str, topic: Callable[..., str]) -> Iterator[Outbox]:
    """A producer with a record in an open transaction; another one has taken its transactional id meanwhile."""
    name = topic("fenced")
    outbox = Outbox(producer_settings({"bootstrap.servers": kafka}, {}, name, 10_000), 30.0)
    outbox.open()
    outbox.producer.init_transactions(60)
    outbox.producer.begin_transaction()
    thief = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    thief.init_transactions(60)
    outbox.write(name, b"x", None, 0)
    yield outbox
    outbox.close()
    thief.close(5)


def test_a_client_that_dies_in_flush_undoes_the_delivery(fenced: Outbox) -> None:
    """The client may raise SystemError there: the error of its callback comes beside a result."""
    with pytest.raises(Undone, match="fenced") as caught:
        fenced.flush()

    assert caught.value.cause == "flush_failed"
    assert isinstance(caught.value.__cause__, SystemError | KafkaException)


def test_a_client_that_died_unseen_is_to_be_replaced(fenced: Outbox) -> None:
    """Its next poll raises, at whatever place that is."""
    deadline = time.monotonic() + 60
    while not fenced.unanswered():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_producer_that_reaches_no_broker_is_given_up_in_time(
    surroundings: tuple[EmbeddedKafka, Network], network: Network
) -> None:
    """The client would wait for the answer to its abort for ever; the next producer does not have to."""
    direct, name = surroundings[0].bootstrap_servers, f"left.{uuid.uuid4().hex[:8]}"
    create(direct, name, 1)
    outbox = Outbox(producer_settings({"bootstrap.servers": network.servers}, {}, name, 10_000), 30.0)
    outbox.open()
    outbox.producer.init_transactions(60)
    outbox.producer.begin_transaction()
    outbox.write(name, b"dropped", None, 0)
    outbox.flush()
    with network.severed(silent=True):
        began_s = time.monotonic()
        outbox.close()
        took_s = time.monotonic() - began_s
        outbox.open()
    outbox.producer.init_transactions(60)
    outbox.producer.begin_transaction()
    outbox.write(name, b"kept", None, 0)
    outbox.flush()
    outbox.producer.commit_transaction(60)
    outbox.close()
    deadline_s = time.monotonic() + 120
    while any(thread.name == "closing-producer" for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s, "the first producer never came to its end"
        time.sleep(0.05)

    assert took_s < 60
    assert [m.value() for m in stop_reading_at_end(direct, name)] == [b"kept"]


def test_a_worker_without_any_broker_for_seconds_goes_on(
    deploy: Callable[..., Deployment], rows: Rows
) -> None:
    """With the client's default (rebootstrap) about every second such worker hung in send_offsets_to_transaction."""
    with Network(1) as network, EmbeddedKafka(advertised=network.advertised, progress=print) as kafka:
        network.open(kafka.inner_addresses)
        deployment = deploy(servers=kafka.bootstrap_servers, kafka={"bootstrap_servers": network.servers})
        worker = deployment.start()
        deployment.send(rows(300))
        with network.severed(silent=False):
            time.sleep(_OUTAGE_S)
        deployment.send(rows(300, start=300))
        deployment.wait_committed()
        assert worker.process.poll() is None
        assert len(deployment.outcome().scored) == 600
