"""How a delivery ended, on librdkafka's own mock brokers: known only where nothing of it can count."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_infer.delivery import exactly_once
from stream_infer.delivery.at_least_once import AtLeastOnce
from stream_infer.delivery.bounded import Caller
from stream_infer.delivery.delivery import Outbox, Undone
from stream_infer.delivery.exactly_once import ExactlyOnce
from stream_infer.delivery.lane import Lane
from stream_infer.delivery.membership import Membership, NotAMember
from stream_infer.delivery.settings import producer_settings
from stream_infer.errors import DeliveryError

MEMBER = Membership(b"CGMDv2:\0\0\0\0group\0member\0\0\1", "group", "member", 0)


class Fragile:
    """A producer some of whose calls fail, or (with None) do nothing."""

    def __init__(self, producer: object, failing: dict[str, Exception | None]) -> None:
        self._producer = producer
        self._failing = failing

    def __getattr__(self, name: str) -> object:
        if name in self._failing:
            return self._fail(self._failing[name])
        return getattr(self._producer, name)

    def _fail(self, error: Exception | None) -> Callable[..., None]:
        def fail(*_: object) -> None:
            if error is not None:
                raise error

        return fail


class Stuck:
    """A producer that does not come back from sending offsets until it may."""

    def __init__(self, producer: object, comes_back: threading.Event) -> None:
        self._producer = producer
        self._comes_back = comes_back

    def __getattr__(self, name: str) -> object:
        return getattr(self._producer, name)

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._comes_back.wait()


@pytest.fixture(params=["ordinary", "native"])
def outbox(request: pytest.FixtureRequest) -> Iterator[Outbox]:
    settings = producer_settings({"bootstrap.servers": "none"}, {}, "worker-0", 10_000)
    made = Lane.choose(request.param).outbox(
        {**settings, "test.mock.num.brokers": 1, "linger.ms": 100, "log_level": 0}, 10.0
    )
    yield made
    made.close()


@pytest.fixture
def delivery(outbox: Outbox) -> Iterator[ExactlyOnce]:
    made = ExactlyOnce(
        outbox,
        "events",
        10.0,
        ready_timeout_s=30.0,
        progress=lambda: None,
        rebuilt=lambda _: None,
        note=lambda _, __: "",
    )
    made.open()
    yield made
    made.close()


def fill(outbox: Outbox, count: int = 500) -> None:
    for number in range(count):
        outbox.write("scored", b"%d" % number, b"key", 0)


def inside(call: Callable[[], object]) -> threading.Thread:
    caller = Caller("stuck")
    assert not caller.returns_within(call, 0.0)
    assert caller.thread is not None
    return caller.thread


def not_a_member() -> Membership:
    raise NotAMember("not now")


def fails(error: Exception) -> Callable[[], None]:
    def state() -> None:
        raise error

    return state


ABORTABLE = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "abortable", txn_requires_abort=True))
FATAL = KafkaException(KafkaError(KafkaError._FATAL, fatal=True))
TIMED_OUT = KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_an_answered_abort_is_known_and_what_it_purged_does_not_fail_the_next_delivery(
    delivery: ExactlyOnce,
) -> None:
    fill(delivery.begin())
    assert delivery.abort("revoked")
    outbox = delivery.begin()
    fill(outbox, 10)
    outbox.flush()
    assert delivery.abort("revoked")


def test_an_abort_that_fails_is_not_known(delivery: ExactlyOnce, outbox: Outbox) -> None:
    fill(delivery.begin(), 10)
    outbox.producer = Fragile(outbox.producer, {"abort_transaction": TIMED_OUT})

    assert not delivery.abort("revoked")


def test_an_abort_whose_answer_was_lost_is_not_known(
    delivery: ExactlyOnce, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(delivery.begin(), 10)
    monkeypatch.setattr(outbox, "unanswered", lambda: 1)

    assert not delivery.abort("revoked")


def test_a_delivery_that_failed_before_its_offsets_were_sent_is_known(delivery: ExactlyOnce) -> None:
    fill(delivery.begin())
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, fails(Undone("queue_full", "for long")))

    assert found.value.known


@pytest.mark.parametrize(
    ("failing", "membership"),
    [
        ({}, not_a_member),
        ({"send_offsets_to_transaction": ABORTABLE}, lambda: MEMBER),
        ({"send_offsets_to_transaction": FATAL}, lambda: MEMBER),
        ({"send_offsets_to_transaction": SystemError("a callback raised")}, lambda: MEMBER),
        ({"send_offsets_to_transaction": None, "commit_transaction": ABORTABLE}, lambda: MEMBER),
    ],
    ids=["no member", "offsets refused", "fatal", "a callback raised", "commit failed"],
)
def test_a_delivery_that_failed_later_is_not_known(
    delivery: ExactlyOnce,
    outbox: Outbox,
    failing: dict[str, Exception | None],
    membership: Callable[[], Membership],
) -> None:
    fill(delivery.begin(), 10)
    outbox.producer = Fragile(outbox.producer, failing)
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, membership, lambda: None)

    assert not found.value.known
    assert delivery.opened_at is None


def test_a_client_that_does_not_come_back_is_left_behind(
    delivery: ExactlyOnce, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exactly_once, "_GRACE_S", -4.8)  # of the 5 s that offsets have
    comes_back = threading.Event()
    first = outbox.producer
    fill(delivery.begin(), 10)
    outbox.producer = Stuck(first, comes_back)
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, lambda: None)
    second = outbox.producer
    fill(delivery.begin(), 10)
    comes_back.set()

    assert found.value.cause == "offsets_stuck"
    assert found.value.known
    assert second is not first
    assert delivery.abort("revoked")


def test_a_connection_lost_while_records_are_on_their_way_is_not_waited_for(
    delivery: ExactlyOnce, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_flush_step", lambda: 10)  # the acknowledgements never come
    first = outbox.producer
    fill(delivery.begin(), 10)
    outbox._log.log(logging.DEBUG, "", "STATE", "producer", "localhost:1/1: Broker changed state UP -> DOWN")
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, lambda: None)

    assert found.value.cause == "connection_lost"
    assert found.value.known
    assert outbox.producer is not first


def test_records_not_taken_in_time_end_their_producer(
    delivery: ExactlyOnce, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What held them up may be answered after an abort, which librdkafka does not survive."""

    def late() -> None:
        raise Undone.of(KafkaError(KafkaError._MSG_TIMED_OUT), "scored[0]")

    monkeypatch.setattr(outbox, "check", late)
    first = outbox.producer
    fill(delivery.begin(), 10)
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, lambda: None)

    assert found.value.cause == "not_acknowledged"
    assert found.value.known
    assert outbox.producer is not first


def test_a_connection_lost_while_offsets_are_sent_is_not_waited_for(
    delivery: ExactlyOnce, outbox: Outbox
) -> None:
    comes_back = threading.Event()

    class Losing(Stuck):
        def send_offsets_to_transaction(self, *_: object) -> None:
            outbox._log.log(
                logging.DEBUG, "", "STATE", "producer", "localhost:1/1: Broker changed state UP -> DOWN"
            )
            super().send_offsets_to_transaction()

    delivery._offsets_s = 3_600.0
    bound = threading.Timer(60, comes_back.set)
    bound.start()
    fill(delivery.begin(), 10)
    outbox.producer = Losing(outbox.producer, comes_back)
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, lambda: None)
    bound.cancel()
    comes_back.set()

    assert found.value.cause == "offsets_stuck"
    assert found.value.known


def test_so_many_clients_are_left_behind_and_no_more(outbox: Outbox) -> None:
    comes_back = threading.Event()

    def leave_one() -> None:
        outbox.open()
        outbox.abandon(inside(comes_back.wait))

    for _ in range(8):
        leave_one()
    with pytest.raises(DeliveryError, match="Cure: "):
        leave_one()
    comes_back.set()


def test_a_client_that_comes_back_is_closed_and_counts_no_more(outbox: Outbox) -> None:
    for _ in range(20):
        comes_back = threading.Event()
        outbox.open()
        outbox.abandon(inside(comes_back.wait))
        comes_back.set()
        for thread in outbox._abandoned:
            thread.join(60)


def test_at_least_once_knows_until_it_commits_the_offsets(outbox: Outbox) -> None:
    def refused(_: dict[int, int]) -> None:
        raise ABORTABLE

    delivery = AtLeastOnce(outbox, refused)
    outbox.open()
    outbox.producer.init_transactions(10)
    outbox.producer.begin_transaction()
    delivery.begin()
    assert delivery.abort("lost")
    delivery.begin()
    with pytest.raises(Undone) as found:
        delivery.commit({0: 1}, lambda: MEMBER, lambda: None)
    assert not found.value.known


def test_only_at_least_once_commits_while_partitions_are_taken_away() -> None:
    assert AtLeastOnce.commits_when_revoked
    assert not ExactlyOnce.commits_when_revoked
