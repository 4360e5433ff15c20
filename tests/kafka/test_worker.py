"""The promises of the worker, on a real broker: exactly once, in order, with the scores of an undisturbed run."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition

from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, Event

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]

POISON = [
    Event(b"machine-1-2", None),
    Event(b"machine-1-2", b""),
    Event(b"machine-1-2", b"\0\0\0"),
    Event(b"machine-1-2", b"\1\0\0\0\7rest"),
    Event(b"machine-1-2", b"\0\0\0\0\x63unknown schema"),
    Event(b"machine-1-2", b"\0\0\0\0\7"),
    Event(b"machine-1-2", b"\0\0\0\0\7\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    Event(b"machine-1-2", b"\0\0\0\0\7" + b"\x02a" * 40),
    Event(None, b"not avro at all"),
]


def mixed(events: list[Event], every: int) -> Iterator[Event]:
    """Events with poison strewn in."""
    for number, event in enumerate(events):
        yield event
        if number % every == 0:
            yield POISON[number // every % len(POISON)]


@pytest.fixture(params=["consumer", "classic"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["exactly_once", "at_least_once"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_event_is_scored_or_rejected_once(deploy: Deploy, rows: Rows, protocol: str, mode: str) -> None:
    deployment = deploy(kafka={"group_protocol": protocol}, delivery={"mode": mode})
    deployment.send(mixed(rows(3000), 100))
    worker = deployment.start()
    deployment.send(mixed(rows(3000, start=3000), 100))
    deployment.wait_committed()
    metrics = worker.get("metrics").text
    code = worker.stop()
    outcome = deployment.outcome()

    assert code == 0
    assert outcome.sent == 6060
    assert len(outcome.scored) == 6000
    assert len(outcome.rejects) == 60
    if not worker.upset():  # else some came again
        assert "stream_infer_scored_total 6000.0" in metrics
        assert "stream_infer_events_total 6060.0" in metrics
    steps = {"state", "flush", "offsets", *(["commit"] if mode == "exactly_once" else [])}
    assert steps <= set(re.findall(r'stage_seconds_total\{stage="(\w+)"\}', metrics))


def test_rejects_keep_their_bytes_and_say_why(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(partitions=1)
    deployment.send([*rows(20), *POISON])
    deployment.start()
    deployment.wait_committed()
    outcome = deployment.outcome()

    assert [(m.key(), m.value()) for m in outcome.rejected] == [(p.key, p.value) for p in POISON]
    assert {r.stage for r in outcome.rejects} == {"decode"}
    assert [r.error for r in outcome.rejects][:3] == ["null", "truncated", "truncated"]
    assert all(r.reason for r in outcome.rejects)


def test_key_partition_and_trace_headers_are_passed_on(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy()
    trace = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("private", b"x"))
    sent = [Event(e.key, e.value, trace) for e in rows(30)]
    deployment.send(sent)
    deployment.start()
    deployment.wait_committed()
    outcome = deployment.outcome()

    assert {tuple(m.headers()) for m in outcome.scored_messages} == {trace[:1]}
    assert sorted(m.key() for m in outcome.scored_messages) == sorted(e.key for e in sent if e.key)


def test_late_and_repeated_times_are_flagged(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(partitions=1)
    events = rows(30, entities=1)
    deployment.send([*events[:20], events[10], events[19], *events[20:]])
    deployment.start()
    deployment.wait_committed()
    orders = [event["time_order"] for event in deployment.outcome().scored]

    assert orders[20:22] == ["late", "repeated"]
    assert set(orders[:20] + orders[22:]) == {"in_order"}


def sending(deployment: Deployment, events: list[Event], rate: float) -> threading.Thread:
    thread = threading.Thread(target=deployment.send, args=(events, rate))
    thread.start()
    return thread


def test_kill_9_of_one_of_three_workers_loses_and_doubles_nothing(
    deploy: Deploy, rows: Rows, protocol: str
) -> None:
    deployment = deploy(partitions=6, kafka={"group_protocol": protocol})
    workers = [deployment.start(ready=False) for _ in range(3)]
    for worker in workers:
        worker.wait_ready()
    thread = sending(deployment, list(mixed(rows(8_000), 200)), 2000)
    time.sleep(1.5)
    workers[0].kill()
    time.sleep(1.5)
    workers[1].kill()
    deployment.start(ready=False)
    thread.join()
    deployment.wait_committed()

    assert deployment.outcome().sent == 8_040


def test_a_restart_with_the_same_slot_goes_on_within_seconds(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(delivery={"slot": "0"}, kafka={"group_protocol": "classic"})
    first = deployment.start()
    thread = sending(deployment, rows(6000), 2000)
    time.sleep(1.0)
    first.kill()
    deployment.start(ready=False)
    thread.join()
    deployment.wait_committed()

    assert len(deployment.outcome().scored) == 6000


def test_workers_that_join_and_leave_while_scoring(deploy: Deploy, rows: Rows, protocol: str) -> None:
    deployment = deploy(partitions=6, kafka={"group_protocol": protocol})
    first = deployment.start()
    thread = sending(deployment, rows(9_000), 1500)
    second = deployment.start()
    time.sleep(0.7)
    third = deployment.start()
    codes = [first.stop()]
    time.sleep(0.7)
    codes.append(second.stop())
    thread.join()
    deployment.wait_committed()
    codes.append(third.stop())

    assert codes == [0, 0, 0]
    assert len(deployment.outcome().scored) == 9_000


def test_a_drain_leaves_nothing_to_replay(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(state={"flush_interval_s": 60.0})
    first = deployment.start()
    deployment.send(rows(3000))
    deployment.wait_committed()
    assert first.stop() == 0
    second = deployment.start()
    deployment.send(rows(3000, start=3000))
    deployment.wait_committed()

    assert second.upset() or "stream_infer_replayed_total 0.0" in second.get("metrics").text
    assert len(deployment.outcome().scored) == 6000


def test_a_fenced_producer_goes_on_from_what_the_broker_has(deploy: Deploy, rows: Rows, kafka: str) -> None:
    """A second process with our transactional id aborts our transaction and fences us, several times."""
    deployment = deploy(delivery={"slot": "0"})
    worker = deployment.start()
    thread = sending(deployment, rows(9000), 2000)
    for _ in range(3):
        time.sleep(0.8)
        thief = Producer({"bootstrap.servers": kafka, "transactional.id": f"{deployment.app}-0"})
        thief.init_transactions(60)
        thief.close(5)
    thread.join()
    deployment.wait_committed()
    metrics = worker.get("metrics").text

    assert len(deployment.outcome().scored) == 9000
    assert "stream_infer_producer_rebuilds_total{" in metrics


def test_state_is_the_same_after_kill_9_with_everything_unflushed(deploy: Deploy, rows: Rows) -> None:
    """No flush came due before the kill: the replay alone brings the windows back."""
    deployment = deploy(state={"flush_interval_s": 3600.0, "restore_target_s": 3600.0})
    first = deployment.start()
    deployment.send(rows(3000))
    deployment.wait_committed()
    first.kill()
    second = deployment.start()
    deployment.send(rows(300, start=3000))
    deployment.wait_committed()
    metrics = second.get("metrics").text

    assert second.upset() or "stream_infer_replayed_total 3000.0" in metrics
    assert len(deployment.outcome().scored) == 3300


def test_a_new_group_that_starts_at_the_end_skips_nothing_after_a_crash(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(input={"start": "latest"})
    first = deployment.start()
    deployment.wait_pinned()
    first.kill()
    deployment.send(rows(300))
    deployment.start()
    deployment.wait_committed()

    assert len(deployment.outcome().scored) == 300


def test_at_least_once_loses_nothing_when_killed(deploy: Deploy, rows: Rows) -> None:
    deployment = deploy(delivery={"mode": "at_least_once"})
    first = deployment.start()
    thread = sending(deployment, rows(6000), 2000)
    time.sleep(1.2)
    first.kill()
    deployment.start(ready=False)
    thread.join()
    deployment.wait_committed()

    assert len(deployment.outcome().scored) >= 6000


def test_membership_is_checked_by_the_broker(deploy: Deploy, rows: Rows) -> None:
    """The premise of the whole loop: offsets under a stale generation are refused, not taken."""
    deployment = deploy()
    worker = deployment.start()
    deployment.send(rows(30))
    deployment.wait_committed()
    stale = b"CGMDv2:" + (1).to_bytes(4, "little") + deployment.app.encode() + b"\0nobody\0\0\1"
    producer = Producer({"bootstrap.servers": deployment.servers, "transactional.id": f"{deployment.app}-x"})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(f"{deployment.topic}.scored", b"x", partition=0)
    with pytest.raises(KafkaException):
        producer.send_offsets_to_transaction([TopicPartition(deployment.topic, 0, 1)], stale)
    producer.abort_transaction()
    producer.close(5)

    assert worker.stop() == 0
