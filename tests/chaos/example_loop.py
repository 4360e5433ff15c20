"""A consume-transform-produce loop in the form of confluent-kafka's own example of exactly-once, for comparison.

    python -m tests.chaos.example_loop --servers ... --input ... --output ... --app ... --batch 20

Copies records in transactions of ``batch`` records: begin, produce each record, send the consumer's positions, commit,
begin again. Beyond the example, it does what the client's documentation asks for: an error that requires an abort is
answered by one, and the consumer goes back to what is committed; on a fatal error the process ends.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

__all__: list[str] = []

_WORK_S = 0.01
"""What the transformation of a record takes. Records of a transaction are at the broker before its offsets are sent."""


def main() -> None:
    """Copy records until killed."""
    parser = argparse.ArgumentParser()
    for name in ("servers", "input", "output", "app"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    consumer = Consumer(
        {
            "bootstrap.servers": options.servers,
            "group.id": options.app,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 45_000,
            "heartbeat.interval.ms": 200,
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([options.input])
    producer = Producer(
        {
            "bootstrap.servers": options.servers,
            "transactional.id": f"{options.app}-0",
            "transaction.timeout.ms": 60_000,
            "socket.timeout.ms": 60_000,
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    copied, is_reading = 0, False
    while True:
        producer.poll(0)
        message = consumer.poll(0.2)
        if message is None:
            continue
        if not is_reading:  # from here on nothing is asked of the group's coordinator but heartbeats
            print("ready", flush=True)
            is_reading = True
        if message.error() is not None:
            continue
        time.sleep(_WORK_S)
        producer.produce(options.output, message.value(), message.key())
        copied += 1
        if copied == options.batch:
            end(producer, consumer)
            producer.begin_transaction()
            copied = 0


def end(producer: Any, consumer: Any) -> None:
    """Commit, or abort and go back."""
    try:
        producer.flush()
        positions = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
        print("committed", flush=True)
    except KafkaException as failure:
        error = failure.args[0]
        print(error, file=sys.stderr, flush=True)
        if not error.txn_requires_abort():
            raise
        producer.abort_transaction()
        for at in consumer.committed(consumer.assignment()):
            consumer.seek(TopicPartition(at.topic, at.partition, max(0, at.offset)))
        print("aborted", flush=True)


if __name__ == "__main__":
    main()
