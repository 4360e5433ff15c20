"""The native lane proves itself, or is not used and says why."""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from stream_infer.build.lane import lane_of
from stream_infer.delivery.delivery import Outbox
from stream_infer.delivery.lane import Lane, LaneName
from stream_infer.delivery.message_intake import MessageIntake
from stream_infer.delivery.native import proof
from stream_infer.delivery.native.handle import handle_of
from stream_infer.delivery.native.intake import NativeIntake
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.outbox import NativeOutbox
from stream_infer.delivery.native.refusal import Refusal
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.settings import producer_settings
from stream_infer.delivery.source import BatchLimits
from stream_infer.errors import ConfigError

LIMITS = BatchLimits(100, 1_000_000)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library.open()


@pytest.fixture
def consumer() -> Any:
    made = Consumer({"group.id": "lane", "client.id": "known", "log_level": 0})
    yield made
    made.close()


def test_the_native_lane_is_taken_where_it_proves_itself() -> None:
    lane = Lane.choose("auto")

    assert (lane.name, lane.detail) == ("native", "proved")
    assert isinstance(lane.intake("events", LIMITS), NativeIntake)
    assert isinstance(lane.outbox({}, 1.0), NativeOutbox)


def test_the_ordinary_lane_can_be_asked_for() -> None:
    lane = Lane.choose("ordinary")

    assert lane.name == "ordinary"
    assert isinstance(lane.intake("events", LIMITS), MessageIntake)
    assert type(lane.outbox({}, 1.0)) is Outbox


@pytest.fixture
def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_infer.delivery.native.library.libversion", lambda: ("0.9.9", 0x000909FF))


def test_a_library_of_another_version_is_not_used(
    other_version: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lane = Lane.choose("auto")

    assert lane.name == "ordinary"
    assert "version" in lane.detail
    assert len(caplog.records) == 1


def test_asking_for_a_native_lane_that_cannot_be_had_is_an_error(other_version: None) -> None:
    config = SimpleNamespace(kafka=SimpleNamespace(lane="native"))

    with pytest.raises(ConfigError, match=r'kafka.lane = "native" cannot be used here: .*version'):
        lane_of(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "made", [object(), 5, "text", [1, 2], Producer], ids=["object", "number", "text", "list", "class"]
)
def test_what_is_no_client_has_no_handle(library: Library, made: Any) -> None:
    """Memory that is read there may hold anything: a wrong address must not be followed blindly."""
    with pytest.raises(Refusal):
        handle_of(library, made)


def test_a_client_of_another_name_is_refused(library: Library, consumer: Any) -> None:
    assert handle_of(library, consumer, "known") != 0
    with pytest.raises(Refusal, match="belongs to 'known#consumer-"):
        handle_of(library, consumer, "unknown")


@pytest.mark.parametrize("field", ["ERROR", "PARTITION", "TOPIC", "LENGTH", "KEY", "KEY_LENGTH", "OPAQUE"])
def test_a_message_that_is_laid_out_otherwise_is_noticed(
    library: Library, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setattr(proof, field, 56)  # where the offset is

    with pytest.raises(Refusal):
        proof.prove(library)


def test_a_proof_leaves_no_client_behind(library: Library) -> None:
    before = thread_count()
    for _ in range(5):
        proof.prove(library)

    wait_until(lambda: thread_count() <= before + 2)


@pytest.mark.parametrize("name", ["ordinary", "native"])
def test_a_producer_is_given_up_without_waiting_for_what_it_holds(name: LaneName) -> None:
    """With no broker a record is held for message.timeout.ms; a client that is left behind shows as threads."""
    before = thread_count()
    outbox = Lane.choose(name).outbox({"bootstrap.servers": "", "log_level": 0}, 1.0)
    for _ in range(5):
        outbox.open()
        outbox.write("events", b"value", b"key", 0, [("name", b"value")])
        began_at = time.monotonic()
        outbox.close()
        assert time.monotonic() - began_at < 60

    wait_until(lambda: thread_count() <= before + 2)


@pytest.mark.parametrize("name", ["ordinary", "native"])
def test_a_producer_that_is_there_already_is_taken_over_once_and_only_with_the_same_settings(
    name: LaneName,
) -> None:
    settings: dict[str, object] = {"bootstrap.servers": "", "log_level": 0}
    lane = Lane.choose(name)
    early, other = Outbox(settings, 1.0), Outbox({**settings, "linger.ms": 7}, 1.0)
    early.open()
    other.open()
    made = early.producer
    outbox, apart = lane.outbox(settings, 1.0, early), lane.outbox(settings, 1.0, other)
    outbox.open()
    apart.open()
    outbox.write("events", b"value", b"key", 0, [("name", b"value")])

    assert outbox.producer is made
    assert other.producer is None, "it was closed"
    assert apart.producer is not None
    outbox.close()
    outbox.open()
    assert outbox.producer is not made
    outbox.close()
    apart.close()


def wait_until(true: Callable[[], bool]) -> None:
    """A client that takes long to close is left to a thread."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def thread_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def used_bytes() -> int:
    """What the heap has in use; the memory of the process says little, for malloc keeps much of what is freed."""

    class Heap(ctypes.Structure):
        _fields_ = [(f"field_{number}", ctypes.c_size_t) for number in range(10)]

    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Heap
    heap = libc.mallinfo2()
    return int(heap.field_4 + heap.field_7)  # hblkhd, uordblks


@pytest.mark.parametrize("name", ["ordinary", "native"])
def test_nothing_is_left_of_producers_that_were_replaced(name: LaneName) -> None:
    """Each is given up with megabytes written and queued; the brokers are librdkafka's own, inside the producer."""
    brokers = {"bootstrap.servers": "", "test.mock.num.brokers": 1, "log_level": 0}
    outbox = Lane.choose(name).outbox(producer_settings(brokers, {}, "lane", 10_000), 10.0)
    count = 4_000
    records = Outgoing.of([bytes(500)] * count, [b"key"] * count, [0] * count, [[]] * count)

    def replace() -> None:
        outbox.open()
        outbox.producer.init_transactions(60)
        outbox.producer.begin_transaction()
        outbox.write_all("events", records)
        outbox.flush()
        outbox.write_all("events", records)
        outbox.close()

    before = thread_count()
    replace()
    wait_until(lambda: thread_count() <= before + 2)
    threads, used = thread_count(), used_bytes()
    for _ in range(8):
        replace()

    wait_until(lambda: thread_count() <= threads + 2)
    wait_until(lambda: used_bytes() < used + 2_000_000)
