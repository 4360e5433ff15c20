"""The native lane on a real broker: the same columns as the ordinary lane, every failure reported, nothing leaked."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Message, Producer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.delivery.delivery import Outbox, Undone
from stream_infer.delivery.exactly_once import ExactlyOnce
from stream_infer.delivery.lane import Lane
from stream_infer.delivery.membership import Membership
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.delivery.settings import consumer_settings, producer_settings
from stream_infer.delivery.source import BatchLimits, Source
from stream_infer.records import Batch
from tests.kafka.deployment import stop_reading_at_end

pytestmark = pytest.mark.kafka

TopicFactory = Callable[..., str]
_LIMITS = BatchLimits(2_000, 50_000_000)
_DEADLINE_S = 120.0

Record = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes | None]]]
"""Value, key, partition, headers."""


@pytest.fixture(scope="module")
def native() -> Lane:
    lane = Lane.choose("native")
    assert lane.name == "native"
    return lane


@pytest.fixture(scope="module")
def ordinary() -> Lane:
    return Lane.choose("ordinary")


class Reading:
    """A source that reads its partitions from where they are, until told otherwise."""

    def __init__(
        self, lane: Lane, servers: str, topic: str, group: str = "", limits: BatchLimits = _LIMITS
    ) -> None:
        connection = {"bootstrap.servers": servers, "log_level": 3}
        chosen = consumer_settings(connection, {}, group or uuid.uuid4().hex, "classic")
        self.source = Source(chosen, topic, lane.intake(topic, limits))
        self.owned: set[int] = set()
        self.next: dict[int, int] = {}
        self._fresh: list[int] = []

    def __enter__(self) -> Reading:
        self.source.open(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def assigned(self, partitions: Sequence[int]) -> None:
        self.owned.update(partitions)
        self._fresh += partitions

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        self.owned.difference_update(partitions)
        self._fresh = [p for p in self._fresh if p not in partitions]

    def poll(self) -> Batch | None:
        batch = self.source.poll(0.1)
        for partition in self._fresh:
            self.source.resume_at(partition, self.next.get(partition, 0))
        self._fresh = []
        return batch

    def rows(self, count: int) -> dict[tuple[int, int], tuple[Any, ...]]:
        """The next records by partition and offset: value, key, time, headers."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        deadline = time.monotonic() + _DEADLINE_S
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records"
            batch = self.poll()
            if batch is not None:
                found |= rows_of(batch)
        return found


def rows_of(batch: Batch) -> dict[tuple[int, int], tuple[Any, ...]]:
    headers = [[]] * len(batch) if batch.headers is None else [batch.headers[i] for i in range(len(batch))]
    keys = zip(batch.partition.tolist(), batch.offset.tolist(), strict=True)
    columns = zip(list(batch.values), list(batch.keys), batch.timestamp_ms.tolist(), headers, strict=True)
    return dict(zip(keys, columns, strict=True))


def outgoing(records: Sequence[Record]) -> Outgoing:
    return Outgoing.of(*(list(column) for column in zip(*records, strict=True)))


def outbox(lane: Lane, servers: str, **extra: Any) -> Outbox:
    connection = {"bootstrap.servers": servers, "log_level": 3}
    return lane.outbox(producer_settings(connection, extra, None, 60_000), 60.0)


@pytest.fixture
def opened(native: Lane, kafka: str) -> Iterator[Callable[..., Outbox]]:
    made: list[Outbox] = []

    def make(**extra: Any) -> Outbox:
        box = outbox(native, kafka, **extra)
        made.append(box)
        box.open()
        return box

    yield make
    for box in made:
        box.close()


@dataclass(frozen=True)
class Both:
    """Each lane's way in and out, over one topic of four partitions."""

    topic: str
    boxes: tuple[Outbox, Outbox]
    readings: tuple[Reading, Reading]


@pytest.fixture
def both(native: Lane, ordinary: Lane, kafka: str, topic: TopicFactory) -> Iterator[Both]:
    name = topic("lanes", 4)
    boxes = outbox(native, kafka), outbox(ordinary, kafka)
    with Reading(native, kafka, name) as columns, Reading(ordinary, kafka, name) as messages:
        for box in boxes:
            box.open()
        yield Both(name, boxes, (columns, messages))
        for box in boxes:
            box.close()


names = st.text("abcdefgh-.", min_size=1, max_size=12)
blobs = st.one_of(st.none(), st.binary(max_size=40), st.just(bytes(range(256)) * 1_000))
keys = st.one_of(st.none(), st.binary(max_size=20))
headers = st.lists(st.tuples(names, st.one_of(st.none(), st.binary(max_size=30))), max_size=4)
records = st.lists(st.tuples(blobs, keys, st.integers(0, 3), headers), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(records, min_size=1, max_size=2))
def test_both_lanes_read_and_write_the_same(both: Both, written: list[list[Record]]) -> None:
    """Whatever is written, by either lane, comes out the same from both: nulls, empty ones, headers, large ones."""
    for box in both.boxes:
        for some in written:
            assert box.write_all(both.topic, outgoing(some)) == []
        box.flush()
    count = 2 * sum(map(len, written))
    by_columns, by_messages = (reading.rows(count) for reading in both.readings)

    assert by_columns == by_messages
    for partition in range(4):
        sent = [
            (value, key, entries) for some in written for value, key, p, entries in some if p == partition
        ]
        found = [row[:2] + row[3:] for at, row in sorted(by_columns.items()) if at[0] == partition]
        assert found == sent * 2


def test_only_headers_that_are_passed_are_written(both: Both) -> None:
    entries: list[tuple[str, bytes | None]] = [("TraceParent", b"1"), ("private", b"2"), ("tracestate", None)]
    whole = outgoing([(b"a", b"k", 0, entries), (b"b", b"k", 0, []), (b"c", b"k", 0, entries[1:2])])
    for box in both.boxes:
        passed = frozenset({b"traceparent", b"tracestate"})
        box.write_all(both.topic, replace(whole, passed=passed, rows=np.array([0, 1, 2])))
        box.flush()
    found = [row[3] for _, row in sorted(both.readings[0].rows(6).items())]

    assert found == [[entries[0], entries[2]], [], []] * 2


def test_a_full_queue_is_waited_for(opened: Callable[..., Outbox], topic: TopicFactory, kafka: str) -> None:
    name = topic("full", 2)
    box = opened(**{"queue.buffering.max.messages": 500})
    numbers = [(b"%d" % number, None, number % 2, []) for number in range(5_000)]
    assert box.write_all(name, outgoing(numbers)) == []
    box.flush()

    assert [m.value() for m in everything(kafka, name, 0)] == [
        b"%d" % number for number in range(0, 5_000, 2)
    ]
    assert [m.value() for m in everything(kafka, name, 1)] == [
        b"%d" % number for number in range(1, 5_000, 2)
    ]


def test_what_the_client_will_not_send_is_told_by_number(
    opened: Callable[..., Outbox], topic: TopicFactory, kafka: str
) -> None:
    name = topic("large")
    box = opened(**{"message.max.bytes": 2_000})
    some = [(b"s", None, 0, []), (b"l" * 5_000, None, 0, []), (b"t", None, 0, [("a", b"b")])]

    assert box.write_all(name, outgoing(some[:2])) == [1]
    assert box.write_all(name, outgoing(some)) == [1]
    box.flush()
    assert [m.value() for m in everything(kafka, name, 0)] == [b"s", b"s", b"t"]


def test_a_record_that_the_broker_refuses_undoes_the_flush(
    opened: Callable[..., Outbox], topic: TopicFactory
) -> None:
    name = topic("small", 1, {"max.message.bytes": "1000"})
    box = opened()
    box.write(name, b"x" * 5_000, b"key", 0)
    with pytest.raises(Undone, match=rf"{name}\[0\]") as undone:
        box.flush()
    assert undone.value.cause == "MSG_SIZE_TOO_LARGE"
    box.write(name, b"small", b"key", 0)
    box.flush()


@pytest.fixture
def delivery(native: Lane, kafka: str, topic: TopicFactory) -> Iterator[ExactlyOnce]:
    connection = {"bootstrap.servers": kafka, "log_level": 3}
    chosen = producer_settings(connection, {}, f"native-{uuid.uuid4().hex}", 60_000)
    made = ExactlyOnce(
        native.outbox(chosen, 60.0),
        "input",
        60.0,
        ready_timeout_s=60.0,
        progress=lambda: None,
        rebuilt=lambda _: None,
        note=lambda *_: "",
    )
    made.open()
    yield made
    made.close()


def commit(delivery: ExactlyOnce) -> None:
    """Of no offsets: what is read back says what counted."""
    consumer = Consumer({"group.id": "nobody", "log_level": 0})
    metadata = consumer.consumer_group_metadata()
    consumer.close()
    delivery.commit({}, lambda: Membership(metadata, "nobody", "", 0), lambda: None)


def test_a_refused_record_undoes_its_transaction_and_the_next_one_counts(
    delivery: ExactlyOnce, topic: TopicFactory, kafka: str
) -> None:
    name = topic("small", 1, {"max.message.bytes": "1000"})
    delivery.begin().write(name, b"with the large one", None, 0)
    delivery.begin().write(name, b"x" * 5_000, None, 0)
    with pytest.raises(Undone) as undone:
        commit(delivery)
    assert undone.value.cause == "MSG_SIZE_TOO_LARGE"
    causes = [again for _ in range(5) if (again := attempt(delivery, name, b"alone")) is not None]

    # librdkafka may still be raising its epoch after the refusal; the ordinary lane is told the same.
    assert causes in ([], ["_PURGE_QUEUE"])
    assert {m.value() for m in everything(kafka, name, 0)} == {b"alone"}


def attempt(delivery: ExactlyOnce, topic: str, value: bytes) -> str | None:
    """Write and commit one record; the cause if that was undone."""
    delivery.begin().write(topic, value, None, 0)
    try:
        commit(delivery)
    except Undone as undone:
        return undone.cause
    return None


def test_an_abort_drops_what_is_on_its_way(delivery: ExactlyOnce, topic: TopicFactory, kafka: str) -> None:
    """Its reports meet confluent-kafka's own callback, which must pass over them."""
    name = topic("aborted", 4)
    for _ in range(20):
        some = [(b"dropped", b"k", number % 4, []) for number in range(2_000)]
        delivery.begin().write_all(name, outgoing(some))
        delivery.abort("test")
    delivery.begin().write(name, b"kept", None, 0)
    commit(delivery)

    assert [m.value() for p in range(4) for m in everything(kafka, name, p)] == [b"kept"]


def test_a_fenced_producer_is_undone_and_replaced(
    delivery: ExactlyOnce, topic: TopicFactory, kafka: str
) -> None:
    name = topic("fenced", 1)
    delivery.begin().write(name, b"fenced", None, 0)
    producer = delivery._outbox
    thief = Producer({"bootstrap.servers": kafka, "transactional.id": producer._settings["transactional.id"]})
    thief.init_transactions(60)
    with pytest.raises(Undone):
        commit(delivery)
    delivery.begin().write(name, b"after", None, 0)
    commit(delivery)

    assert [m.value() for m in everything(kafka, name, 0)] == [b"after"]


def test_offsets_are_contiguous_through_rewinds_and_rebalances(
    native: Lane, ordinary: Lane, kafka: str, topic: TopicFactory
) -> None:
    """100,000 records, while readers of both lanes join and leave their group and go back to earlier offsets."""
    name, group, count = topic("many", 6), uuid.uuid4().hex, 100_000
    fill(kafka, name, 6, count)
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + 2 * _DEADLINE_S
    with Reading(native, kafka, name, group) as first:
        lanes = itertools.cycle([native, ordinary])
        while len(seen) < count:
            with Reading(next(lanes), kafka, name, group) as second:
                joined = time.monotonic()
                while len(seen) < count and not (second.owned and time.monotonic() > joined + 1.0):
                    assert time.monotonic() < deadline, f"{len(seen)} of {count}"
                    for reading, other in ((first, second), (second, first)):
                        seen |= step(reading, other)
                for partition in list(second.owned)[:1]:
                    second.source.pause([partition])
                    second.next[partition] //= 2
                    second.source.resume_at(partition, second.next[partition])
                seen |= step(second, first)
            first.next = {p: max(first.next.get(p, 0), second.next.get(p, 0)) for p in range(6)}

    assert len(seen) == count


def step(reading: Reading, other: Reading) -> set[tuple[int, int]]:
    """Take a batch; each record must be the next one of its partition, or stale."""
    for partition in set(range(6)) - reading.owned:
        reading.next[partition] = max(reading.next.get(partition, 0), other.next.get(partition, 0))
    batch = reading.poll()
    if batch is None:
        return set()
    taken = set()
    for partition, offset in zip(batch.partition.tolist(), batch.offset.tolist(), strict=True):
        expected = reading.next.setdefault(partition, 0)
        if partition not in reading.owned or offset < expected:
            continue
        assert offset == expected, f"partition {partition}: {offset} came, {expected} is next"
        reading.next[partition] = offset + 1
        taken.add((partition, offset))
    return taken


def test_memory_stays_where_it_is(
    native: Lane, opened: Callable[..., Outbox], topic: TopicFactory, kafka: str
) -> None:
    """Half a million records in and out: a message destroyed too rarely would be a hundred MB."""
    name, copy = topic("in", 1), topic("out", 1)
    fill(kafka, name, 1, 20_000, size=200)
    box = opened()
    sizes = []
    with Reading(native, kafka, name) as reading:
        for _ in range(25):
            left = 20_000
            while left:
                batch = reading.poll()
                if batch is not None:
                    left -= len(batch)
                    rows = np.arange(len(batch))
                    box.write_all(copy, Outgoing(batch.values, batch.partition, rows, batch.keys))
            box.flush()
            reading.source.pause([0])
            reading.source.resume_at(0, 0)
            sizes.append(resident_bytes())

    assert sizes[-1] - sizes[7] < 40_000_000, [size // 1_000_000 for size in sizes]


def test_a_source_closes_at_once_with_records_in_every_place(
    native: Lane, kafka: str, topic: TopicFactory
) -> None:
    """In the partition's queue, in ours, and held because a batch was cut by its size."""
    name = topic("closed", 3)
    fill(kafka, name, 3, 30_000)
    for _ in range(3):
        with Reading(native, kafka, name, limits=BatchLimits(500, 100)) as reading:
            assert reading.rows(3)
            began = time.monotonic()
        assert time.monotonic() - began < 30


def fill(servers: str, topic: str, partitions: int, count: int, size: int = 20) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 200_000}
    )
    for number in range(count):
        producer.produce(topic, b"%0*d" % (size, number), b"%d" % number, number % partitions)
    assert producer.flush(120) == 0


def everything(servers: str, topic: str, partition: int) -> list[Message]:
    """All records of a partition that count, those of a transaction that ends just now, too."""
    return [m for m in stop_reading_at_end(servers, topic) if m.partition() == partition]


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
