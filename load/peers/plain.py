"""The rival everyone writes first: confluent-kafka and fastavro in a loop, exactly-once, scoring in batches.

Tuned with the same care as the worker where its form allows: batches by ``consume``, one inference per batch, arrays
for the windows, ``flush`` before the offsets, the same commit interval, the same client settings.
What it does not do: survive faults (no state restore, no rewind, no rejects), so it is less work than the worker's.

    python -m load.peers.plain SERVERS TOPIC GROUP MODEL SCHEMA
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from load.peers.detector import Codec, Detector

COMMIT_INTERVAL_S = 0.1
BATCH = 1000


def main(servers: str, topic: str, group: str, model: str, schema: str) -> None:
    """Score the events of the topic until the process is ended."""
    detector = Detector(Path(model))
    codec = Codec(Path(schema), topic, detector.identity)
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 2,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": f"{group}-plain",
            "queue.buffering.max.messages": 500_000,
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 100,
        }
    )
    producer.init_transactions()
    consumer.subscribe([topic])
    opened_at, positions = None, {}
    while True:
        left_s = COMMIT_INTERVAL_S if opened_at is None else opened_at + COMMIT_INTERVAL_S - time.monotonic()
        messages = [m for m in _batch(consumer, max(0.0, left_s)) if m.error() is None]
        if messages:
            if opened_at is None:
                producer.begin_transaction()
                opened_at = time.monotonic()
            events = [codec.decode(message.value()) for message in messages]
            for message, event, result in zip(messages, events, detector.score(events), strict=True):
                partition, offset = message.partition(), message.offset()
                scored = codec.encode(event, result, partition, offset)
                producer.produce(f"{topic}.scored", scored, message.key(), partition)
                positions[partition] = offset + 1
        if opened_at is not None and time.monotonic() - opened_at >= COMMIT_INTERVAL_S:
            producer.flush()
            offsets = [TopicPartition(topic, p, offset) for p, offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            opened_at = None


def _batch(consumer: Consumer, longest_s: float) -> list:
    """What is there, at most a batch of it, once something is."""
    first = consumer.poll(longest_s)
    return [] if first is None else [first, *consumer.consume(BATCH - 1, 0)]


if __name__ == "__main__":
    main(*sys.argv[1:])
