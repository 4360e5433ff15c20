"""What arrives late: joins of a slot that has joined by now, offsets of a member that is gone, where a topic begins."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Literal

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_infer.delivery import source as source_module
from stream_infer.delivery.message_intake import MessageIntake
from stream_infer.delivery.settings import consumer_settings
from stream_infer.delivery.source import BatchLimits, Source
from stream_infer.embedded import EmbeddedKafka
from tests.chaos.patches import patient
from tests.chaos.process import ChaosWorker
from tests.chaos.proxy import Network
from tests.chaos.proxy_frames import Api
from tests.chaos.proxy_rules import Delay, Hold, Match, Rule
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess

pytestmark = pytest.mark.kafka

_WITHIN_S = 100.0
_EXPELLED_MS = 3_000
_OPEN_MS = 200_000


@pytest.fixture
def behind(
    surroundings: tuple[EmbeddedKafka, Network], deploy: Callable[..., Deployment]
) -> Callable[..., Deployment]:
    """A deployment behind the proxy."""
    kafka, network = surroundings

    def make(protocol: str, partitions: int = 1, **settings: Any) -> Deployment:
        connection = {"bootstrap_servers": network.servers, "group_protocol": protocol}
        return deploy(partitions=partitions, servers=kafka.bootstrap_servers, kafka=connection, **settings)

    return make


def _wait_said(worker: WorkerProcess, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while worker.text().count(text) < count:
        assert worker.process.poll() is None, worker.text()[-3000:]
        assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{worker.text()[-3000:]}"
        time.sleep(0.1)


def test_a_join_that_comes_late_costs_a_new_consumer_and_nothing_else(
    network: Network, behind: Callable[..., Deployment], rows: Rows
) -> None:
    """To the broker it is another process of the same slot: it fences the member that the repeated join has made."""
    deployment = behind("classic", delivery={"slot": "0"})
    late = network.add(Hold(Match((Api.JOIN_GROUP,)), count=1, hang_up=True))
    worker = deployment.start()
    deployment.send(rows(50))
    deployment.wait_committed()
    assert late.taken == 1
    late.release()
    _wait_said(worker, " new consumer ")
    deployment.send(rows(50, start=50))
    deployment.wait_committed()

    assert worker.process.poll() is None
    assert len(deployment.outcome().scored) == 100
    assert worker.stop() == 0


@pytest.mark.parametrize(("protocol", "expelled"), [("classic", True), ("consumer", False)])
def test_what_is_withdrawn_in_a_rebalance_takes_no_offset_back(
    network: Network, behind: Callable[..., Deployment], rows: Rows, protocol: str, expelled: bool
) -> None:
    """Who gives partitions up before it has proved them commits their old offsets once more, inside the rebalance.

    That request arrives when the next owner has committed more: either the group has given up waiting for the
    member, or the member has repeated the request and gone on. In the first case the member joins again before it is
    asked to give up the partition that it kept, too: that one's offset must not go back, either.
    """
    one_batch = {"max_events": 10, "linger_ms": 3_000}
    settings: dict[str, Any] = {"delivery": {"transaction_timeout_ms": _OPEN_MS}, "batch": one_batch}
    own = {"DELIVERY__SLOT": "first", "DELIVERY__COMMIT_INTERVAL_MS": "60000"}
    variables = {f"STREAM_INFER__{name}": value for name, value in own.items()}
    if expelled:  # while it waits for an answer, which must not have an end of its own
        settings["kafka.consumer"] = {
            "session.timeout.ms": _EXPELLED_MS,
            "max.poll.interval.ms": _EXPELLED_MS,
        }
        settings["kafka.producer"] = {"socket.timeout.ms": _OPEN_MS}
        variables["CHAOS_PATCHES"] = f"{patient.__module__}:{patient.__name__}"
        # In the other lane it would be inside a poll that waits, in which the client counts no poll time-out.
        variables["STREAM_INFER__KAFKA__LANE"] = "native"
    deployment = behind(protocol, partitions=2, **settings)
    first = ChaosWorker(deployment.config, deployment.folder / "first.log", variables)
    deployment.workers.append(first)
    first.wait_ready()
    deployment.send(rows(one_batch["max_events"]))
    # Announced, worked on, not committed: once, or again if a slow machine had it expelled meanwhile.
    worked_on = re.compile(r"^stream_infer_events_total [1-9]0\.0$", re.MULTILINE)
    first.wait_until(lambda: worked_on.search(first.get("metrics").text) is not None)
    offsets = Match((Api.TXN_OFFSET_COMMIT,), transactional_id=f"{deployment.app}-first")
    answered = network.add(Rule(offsets, response=True))
    late = network.add(Hold(offsets) if expelled else Hold(offsets, count=1, hang_up=True))
    deployment.start(DELIVERY__SLOT="second", BATCH__LINGER_MS="0", ready=False)
    late.wait_taken(_WITHIN_S)
    if expelled:
        assert " revoked partitions=" not in first.text(), "it is still inside the rebalance"
    deployment.wait_committed()
    before = answered.taken
    late.release()
    answered.wait_taken(_WITHIN_S, before + 1)
    # What the broker took of it is committed by then.
    _wait_said(first, " owned=[]" if expelled else " revoked partitions=")
    first.kill()
    deployment.wait_committed()

    assert len(deployment.outcome().scored) == one_batch["max_events"]


def test_who_is_stopped_while_it_joins_leaves_all_the_same(
    network: Network, behind: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the group would wait for it until its session ends: without its id, which comes last, it cannot leave."""
    topic, group = behind("classic").topic, uuid.uuid4().hex
    monkeypatch.setattr(source_module, "_LEAVE_S", _WITHIN_S)  # on a machine that stands still for seconds
    answer = network.add(Hold(Match((Api.JOIN_GROUP,)), response=True))
    settings = consumer_settings({"bootstrap.servers": network.servers}, {}, group, "classic", slot="0")
    source = Source(settings, topic, MessageIntake(BatchLimits(1_000, 1_000_000)))
    source.open(Taken())
    answer.wait_taken(_WITHIN_S)
    later = threading.Timer(0.5, answer.release)
    later.start()
    source.close()
    later.join()

    admin = AdminClient({"bootstrap.servers": network.servers})
    assert not admin.describe_consumer_groups([group])[group].result(_WITHIN_S).members


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_is_read_from_where_it_was_sought_to_and_from_nowhere_else(
    network: Network, behind: Callable[..., Deployment], rows: Rows, protocol: Literal["classic", "consumer"]
) -> None:
    """Whatever the client asks of a partition by itself is answered after the seek."""
    deployment = behind(protocol, partitions=6)
    deployment.send(rows(3_000, entities=60))
    network.add(Delay(Match((Api.LIST_OFFSETS,)), 0.3, random=Random(1)))
    taken = Taken()
    settings = consumer_settings({"bootstrap.servers": network.servers}, {}, uuid.uuid4().hex, protocol)
    source = Source(settings, deployment.topic, MessageIntake(BatchLimits(1_000, 1_000_000)))
    source.open(taken)
    offsets: dict[int, list[int]] = {p: [] for p in range(6)}
    deadline, later = time.monotonic() + _WITHIN_S, time.monotonic()
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
