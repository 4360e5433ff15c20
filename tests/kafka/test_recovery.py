"""How fast and how quietly partitions change hands. Bounds are for busy machines; figures are measured by load/."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
import pytest
from confluent_kafka import KafkaException, Producer

from stream_infer.build.fence import fence
from stream_infer.config import load
from stream_infer.delivery.message_intake import MessageIntake
from stream_infer.delivery.settings import consumer_settings, producer_settings
from stream_infer.delivery.source import BatchLimits, Source
from tests.chaos.reader import offsets_of
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess, stop_reading_at_end

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]

_LONGEST_S = 60.0
_UPSET = re.compile(r" (lost|rewound|new producer|new consumer|cannot seek) ")
"""What a worker says when more than a rebalance happened to it, as on a machine that stood still."""


def _numbers(worker: WorkerProcess, line: str) -> Counter[str]:
    return Counter(
        number
        for found in re.findall(rf" {line}=(\[[\d,]*\]|\d+)", worker.text())
        for number in re.findall(r"\d+", found)
    )


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
    thread = threading.Thread(target=deployment.send, args=(rows(8_000), 1500))
    thread.start()
    _share(deployment, 2.0)
    thread.join()
    deployment.wait_committed()
    calm = not any(_UPSET.search(worker.text()) for worker in deployment.workers)
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
        **{"kafka.consumer": {"session.timeout.ms": 110_000}},
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


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_is_read_from_where_it_was_sought_to_and_from_nowhere_else(
    deploy: Deploy, rows: Rows, protocol: Literal["classic", "consumer"]
) -> None:
    """Sought as early as can be: what the client may still be asking for must not count when it comes, later."""
    deployment = deploy(partitions=6)
    deployment.send(rows(3_000, entities=60))
    taken = Taken()
    settings = consumer_settings({"bootstrap.servers": deployment.servers}, {}, uuid.uuid4().hex, protocol)
    source = Source(settings, deployment.topic, MessageIntake(BatchLimits(1_000, 1_000_000)))
    source.open(taken)
    offsets: dict[int, list[int]] = {p: [] for p in range(6)}
    deadline, later = time.monotonic() + _LONGEST_S, time.monotonic()
    while not all(offsets.values()) or time.monotonic() < later:
        assert time.monotonic() < deadline, offsets
        batch = source.poll(0.1)
        if not all(offsets.values()):
            later = time.monotonic() + 2
        for number in list(taken.waiting):
            with suppress(KafkaException):  # the client has not begun with it
                source.resume_at(number, 10)
                taken.waiting.remove(number)
        for partition, offset in () if batch is None else zip(batch.partition, batch.offset, strict=True):
            offsets[int(partition)].append(int(offset))
    source.close()

    for found in offsets.values():
        assert found == list(range(10, found[-1] + 1))


class Taken:
    """Partitions that were assigned and are still to be sought."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()

    def assigned(self, partitions: Sequence[int]) -> None:
        self.waiting.update(partitions)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        self.waiting.difference_update(partitions)


def test_what_a_dead_worker_left_open_ends_while_its_successor_still_loads(deploy: Deploy) -> None:
    """The brokers would end it after ten minutes."""
    deployment = deploy(partitions=1, delivery={"slot": "0", "transaction_timeout_ms": 600_000})
    config, scored = load(deployment.config, {}), (f"{deployment.topic}.scored", 0)
    dead = Producer(producer_settings(config.kafka.client_settings(), {}, f"{deployment.app}-0", 600_000))
    dead.init_transactions(60)
    dead.begin_transaction()
    dead.produce(scored[0], b"left open", partition=scored[1])
    assert dead.flush(60) == 0
    assert _stable(deployment, scored) == 0
    deadline = time.monotonic() + _LONGEST_S
    with fence(config):
        while _stable(deployment, scored) == 0:
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
