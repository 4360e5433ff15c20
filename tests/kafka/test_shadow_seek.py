"""Where a shadow that starts in the past begins to read the primary's topics: found by bisection, to the record."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from confluent_kafka import Message, Producer

from stream_infer.delivery.settings import reader_settings
from stream_infer.shadow.standing import Seeker, Topics
from tests.kafka.deployment import ends, stop_reading_at_end

pytestmark = pytest.mark.kafka

_KEYS = [key for key in range(40, 340) if key % 7]  # not of all events there is a result
_UNTOLD = b"?"


def fill(servers: str, topic: str) -> None:
    """Rising keys in small transactions, whose markers take offsets, too; one is aborted, one record says nothing."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(60)
    for number, start in enumerate(range(0, len(_KEYS), 20)):
        producer.begin_transaction()
        for key in _KEYS[start : start + 20]:
            producer.produce(topic, str(key).encode(), partition=0)
        producer.produce(topic, _UNTOLD, partition=0)
        producer.commit_transaction(60)
        if number == 5:
            producer.begin_transaction()
            producer.produce(topic, b"0", partition=0)
            assert producer.flush(60) == 0
            producer.abort_transaction(60)
    producer.close(60)


def test_every_place_is_found_in_few_reads(kafka: str, topic: Callable[..., str]) -> None:
    """All results from an event on lie behind the place, none from before it does; those after each other are exact."""
    scored, rejected = topic("scored", 1), topic("rejected", 1)  # there are no rejects
    fill(kafka, scored)
    places = {int(m.value()): m.offset() for m in stop_reading_at_end(kafka, scored) if m.value() != _UNTOLD}
    end, reads = ends(kafka, scored)[0], []

    def key_of(message: Message) -> int | None:
        reads.append(message.offset())
        return None if message.value() == _UNTOLD else int(message.value())

    settings = reader_settings({"bootstrap.servers": kafka}, {}, scored)
    seeker = Seeker(settings, Topics("events", scored, rejected), key_of, key_of, lambda: None)
    for wanted in (0, 41, 42, 188, 339, 340):
        reads.clear()
        found = seeker.beside(0, wanted)
        before = max((offset for key, offset in places.items() if key < wanted), default=-1)
        behind = min((offset for key, offset in places.items() if key >= wanted), default=end)

        assert before < found.scored <= behind, wanted
        assert found.rejected == 0
        assert len(reads) <= math.log2(end) + 2
