"""How fast and how quietly partitions change hands. Bounds are for busy machines; figures are measured by load/."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from confluent_kafka import Producer

from stream_infer.build.fence import fence
from stream_infer.build.lane import lane_of
from stream_infer.build.producer import producer_of
from stream_infer.config import load
from stream_infer.delivery.settings import producer_settings
from tests.chaos.reader import offsets_of
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess, stop_reading_at_end

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]

_LONGEST_S = 60.0


def _numbers(worker: WorkerProcess, line: str) -> Counter[str]:
    return Counter(
        number
        for found in re.findall(rf" {line}=(\[[\d,]*\]|\d+)", worker.text())
        for number in re.findall(r"\d+", found)
    )


def _wait_shared(workers: Sequence[WorkerProcess], partitions: int) -> None:
    """Wait until they own and have restored all partitions between them."""

    def shared() -> bool:
        facts = [worker.facts() for worker in workers]
        owned = sorted(number for one in facts for number in one.get("owned", ()))
        return owned == list(range(partitions)) and not any(one.get("restoring") for one in facts)

    workers[0].wait_until(shared)


def _share(deployment: Deployment, seconds: float) -> None:
    """A third worker joins the two, and leaves again."""
    third = deployment.start()
    time.sleep(seconds)
    assert third.stop() == 0


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
def test_a_rebalance_restores_only_what_moves_and_repeats_nothing(
    deploy: Deploy, rows: Rows, mode: str
) -> None:
    deployment = deploy(partitions=6, delivery={"mode": mode})
    workers = [deployment.start(), deployment.start()]
    _wait_shared(workers, deployment.partitions)
    thread = threading.Thread(target=deployment.send, args=(rows(8_000), 1500))
    thread.start()
    _share(deployment, 2.0)
    thread.join()
    deployment.wait_committed()
    _wait_shared(workers, deployment.partitions)
    calm = not any(worker.upset() for worker in deployment.workers)
    if calm:
        deployment.settings["delivery"]["mode"] = "exactly_once"  # as strict a check as that
    outcome = deployment.outcome()

    assert outcome.sent == 8_000
    if calm:
        for worker in workers:
            assert _numbers(worker, "restored partition") == _numbers(worker, "assigned partitions")
    assert np.percentile(_delays_s(deployment, outcome.scored_messages, outcome.scored), 99) < _LONGEST_S


def test_a_slot_is_given_back_at_once_and_left_at_once(deploy: Deploy, rows: Rows) -> None:
    """The session is so long that a worker which waited for its end would fail the test."""
    deployment = deploy(
        partitions=4,
        kafka={"group_protocol": "classic"},
        **{"kafka.consumer": {"session.timeout.ms": 290_000, "max.poll.interval.ms": 300_000}},
    )
    first = deployment.start(DELIVERY__SLOT="first")
    second = deployment.start(DELIVERY__SLOT="second")
    deployment.send(rows(1000))
    deployment.wait_committed()
    first.kill()
    deployment.send(rows(1000, start=1000))
    again = deployment.start(DELIVERY__SLOT="first")
    deployment.wait_committed()
    assert again.stop() == 0
    deployment.send(rows(1000, start=2000))
    deployment.wait_committed()

    assert len(deployment.outcome().scored) == 3000
    assert second.stop() == 0


def test_what_a_dead_worker_left_open_ends_while_its_successor_still_loads(deploy: Deploy) -> None:
    """The brokers would end it after ten minutes. The producer that ended it is the successor's own."""
    deployment = deploy(partitions=1, delivery={"slot": "0", "transaction_timeout_ms": 600_000})
    config, scored = load(deployment.config, {}), (f"{deployment.topic}.scored", 0)
    dead = Producer(producer_settings(config.kafka.client_settings(), {}, f"{deployment.app}-0", 600_000))
    dead.init_transactions(60)
    dead.begin_transaction()
    dead.produce(scored[0], b"left open", partition=scored[1])
    assert dead.flush(60) == 0
    assert _stable(deployment, scored) == 0
    deadline = time.monotonic() + _LONGEST_S
    with fence(config) as early:
        while _stable(deployment, scored) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert early is not None
    ended, producer, lane = _stable(deployment, scored), early.producer, lane_of(config)
    outbox = lane.outbox(producer_of(config, "0", lane.linger_ms), 60.0, early)
    outbox.open()
    assert outbox.producer is producer
    producer.init_transactions(60)
    producer.begin_transaction()
    outbox.write(scored[0], b"after it", None, scored[1])
    outbox.flush()
    producer.commit_transaction(60)
    outbox.close()
    while _stable(deployment, scored) == ended:  # the markers are written after the answer
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_first_of_two_with_the_same_slot_ends_and_says_why(deploy: Deploy) -> None:
    deployment = deploy(partitions=1, kafka={"group_protocol": "classic"}, delivery={"slot": "0"})
    first = deployment.start()
    second = deployment.start()

    assert first.process.wait(120) == 5
    assert "another process has the same delivery.slot" in first.text()
    assert second.stop() == 0


def _stable(deployment: Deployment, place: tuple[str, int]) -> int:
    """Up to where a partition can be read by those who read what is committed."""
    return offsets_of(deployment.servers, [place], "read_committed")[place]


def _delays_s(deployment: Deployment, messages: list, scored: list) -> np.ndarray:
    """From the time an event was sent to the time its score was published."""
    sent_ms = {
        (m.partition(), m.offset()): m.timestamp()[1]
        for m in stop_reading_at_end(deployment.servers, deployment.topic)
    }
    return np.array(
        [
            (m.timestamp()[1] - sent_ms[event["source_partition"], event["source_offset"]]) / 1000
            for m, event in zip(messages, scored, strict=True)
        ]
    )
