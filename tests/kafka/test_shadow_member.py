"""Partition n of all topics comes to one member, or the shadow says what is in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer

from stream_infer.delivery.settings import consumer_settings
from stream_infer.errors import BrokerError
from stream_infer.shadow import member as members
from stream_infer.shadow.member import Member, member_settings

pytestmark = pytest.mark.kafka

GROUP = "a-shadow"


class Seen:
    """What the member says of its partitions."""

    def __init__(self) -> None:
        self.owned: set[int] = set()

    def assigned(self, partitions: Sequence[int]) -> None:
        self.owned |= set(partitions)

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        self.owned -= set(partitions)


@contextmanager
def stranger(servers: str, group: str, topic: str) -> Iterator[None]:
    """Another program in the shadow's group, that reads one of its topics only."""
    settings = {"bootstrap.servers": servers, "group.id": group, "partition.assignment.strategy": "range"}
    consumer, ended = Consumer(settings), threading.Event()
    consumer.subscribe([topic])

    def poll() -> None:
        while not ended.is_set():
            consumer.poll(0.1)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        consumer.close()


def poll(member: Member, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        member.poll(0.1, 10)
        assert time.monotonic() < deadline


def test_partitions_that_stay_apart_end_the_shadow(
    kafka: str, topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of two, of which one takes a part of one topic: its partitions are never together."""
    topics = [topic(name, 4) for name in ("input", "scored", "rejected")]
    group = f"{GROUP}-{topics[0]}"
    settings = member_settings(consumer_settings({"bootstrap.servers": kafka}, {}, group, "classic"))
    member, seen = Member(settings, topics), Seen()
    member.open(seen)
    try:
        # Brokers may tell of a new topic some seconds after another.
        poll(member, lambda: len(seen.owned) == 4)
        monkeypatch.setattr(members, "_APART_S", 2.0)
        with (
            stranger(kafka, group, topics[1]),
            pytest.raises(BrokerError, match=r"not assigned together") as told,
        ):
            poll(member, lambda: False)
        together = set(seen.owned)
    finally:
        member.close()

    assert "ask for the range assignor" in str(told.value)
    assert "Cure: stop other programs of group" in str(told.value)
    assert 0 < len(together) < 4  # the others are whole, and stay ours
