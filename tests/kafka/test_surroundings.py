"""What the worker stands on fails: brokers restart, the registry is slow, gone or does not know an id yet."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import httpx
import pytest
from confluent_kafka.admin import AdminClient

from stream_infer.embedded import EmbeddedKafka, EmbeddedRegistry
from tests.kafka.conftest import Rows
from tests.kafka.deployment import EVENT_SCHEMA, Deployment
from tests.kafka.test_worker import sending

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]


def test_a_broker_restart_in_mid_stream(deploy: Deploy, rows: Rows) -> None:
    """With copies: a broker that stops drops the transaction markers of partitions that have none (delivery.md)."""
    with EmbeddedKafka(nodes=3) as brokers:
        deployment = deploy(servers=brokers.bootstrap_servers)
        worker = deployment.start()
        thread = sending(deployment, rows(9000), 1500)
        time.sleep(1.0)
        brokers.restart(1)
        time.sleep(1.0)
        brokers.kill(2)
        brokers.restart(2)
        thread.join()
        deployment.wait_committed()

        assert len(deployment.outcome().scored) == 9000
        assert worker.stop() == 0


def test_a_frozen_broker_makes_a_new_consumer_that_goes_on(deploy: Deploy, rows: Rows) -> None:
    with EmbeddedKafka() as broker:
        deployment = deploy(servers=broker.bootstrap_servers)
        worker = deployment.start()
        deployment.send(rows(600))
        deployment.wait_committed()
        broker.pause(1)
        deadline = time.monotonic() + 120
        while "new consumer" not in worker.text() and time.monotonic() < deadline:
            time.sleep(0.2)
        broker.resume(1)
        deployment.send(rows(600, start=600))
        deployment.wait_committed()

        assert "new consumer" in worker.text()
        assert len(deployment.outcome().scored) == 1200
        assert worker.stop() == 0


def test_the_groups_coordinator_dies_for_good(deploy: Deploy, rows: Rows) -> None:
    """librdkafka waits for ever for a coordinator that it remembers, once that has left the cluster."""
    with EmbeddedKafka(nodes=3) as brokers:
        deployment = deploy(servers=brokers.bootstrap_servers)
        worker = deployment.start()
        thread = sending(deployment, rows(6000), 500)
        deployment.wait_pinned()
        admin = AdminClient({"bootstrap.servers": brokers.bootstrap_servers})
        group = admin.describe_consumer_groups([deployment.app])[deployment.app].result(60)
        brokers.kill(group.coordinator.id)
        thread.join()
        deployment.wait_committed()

        assert worker.process.poll() is None, worker.text()[-3000:]
        assert len(deployment.outcome().scored) == 6000
        assert worker.stop() == 0


def test_a_drain_without_brokers_ends_in_time(deploy: Deploy, rows: Rows) -> None:
    with EmbeddedKafka() as broker:
        deployment = deploy(servers=broker.bootstrap_servers, delivery={"drain_timeout_s": 1.0})
        worker = deployment.start()
        deployment.send(rows(600))
        deployment.wait_committed()
        broker.pause(1)
        began = time.monotonic()
        code = worker.stop()
        took_s = time.monotonic() - began
        broker.resume(1)

        assert code == 6
        assert took_s < 60
        assert "the drain did not end in time" in worker.text()

        # A worker that starts does not wait for brokers; once they have taken these, they answer.
        deployment.send(rows(600, start=600))
        deployment.start()
        deployment.wait_committed()
        assert len(deployment.outcome().scored) == 1200


def register(url: str, topic: str) -> int:
    answer = httpx.post(
        f"{url}/subjects/{topic}-value/versions", json={"schema": json.dumps(EVENT_SCHEMA)}, timeout=60
    )
    return int(answer.raise_for_status().json()["id"])


def test_a_known_schema_needs_no_registry_any_more(deploy: Deploy, rows: Rows) -> None:
    with EmbeddedRegistry() as registry:
        number = register(registry.url, "events")
        deployment = deploy(schema_id=number, registry={"url": registry.url, "timeout_s": 20.0})
        worker = deployment.start()
        deployment.send(rows(300, schema_id=number))
        deployment.wait_committed()
        os.kill(registry.pid, signal.SIGSTOP)
        deployment.send(rows(300, start=300, schema_id=number))
        deployment.wait_committed()
        os.kill(registry.pid, signal.SIGCONT)

        assert worker.stop() == 0
        assert len(deployment.outcome().scored) == 600


def test_an_id_that_cannot_be_looked_up_waits_and_is_not_rejected(deploy: Deploy, rows: Rows) -> None:
    with EmbeddedRegistry() as registry:
        number = register(registry.url, "events")
        deployment = deploy(schema_id=number, registry={"url": registry.url, "timeout_s": 6.0})
        worker = deployment.start()
        os.kill(registry.pid, signal.SIGSTOP)
        deployment.send(rows(300, schema_id=number))
        worker.wait_until(lambda: "partitions wait for a schema" in worker.get("status").text)
        assert "stream_infer_scored_total 0.0" in worker.get("metrics").text
        assert worker.get("healthz").status_code == 200
        os.kill(registry.pid, signal.SIGCONT)
        deployment.wait_committed()
        outcome = deployment.outcome()

    assert len(outcome.scored) == 300
    assert outcome.rejects == []


def test_a_registry_that_is_down_at_the_start_is_said_with_its_cure(deploy: Deploy) -> None:
    deployment = deploy(registry={"url": "http://127.0.0.1:9", "timeout_s": 1.0})
    worker = deployment.start(ready=False)

    assert worker.process.wait(120) == 4
    assert "registry.url = http://127.0.0.1:9" in worker.text()
    assert "Traceback" not in worker.text()


def test_a_port_in_use_is_said_before_anything_starts(deploy: Deploy) -> None:
    deployment = deploy()
    first = deployment.start()
    port = str(first.get("status").url.port)
    second = deployment.start(ready=False, CONTROL__PORT=port)

    assert second.process.wait(120) == 7
    assert "control.port" in second.text()
