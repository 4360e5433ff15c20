"""The embedded Kafka and registry are real, quick, and never outlive their owner."""

import pytest
from confluent_kafka import Consumer, Producer

pytestmark = pytest.mark.kafka


def test_transaction_round_trip(kafka, topic):
    name = topic("round", partitions=3)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, b"aborted", partition=0)
    producer.abort_transaction(20)
    producer.begin_transaction()
    for number in range(300):
        producer.produce(name, str(number).encode(), partition=number % 3)
    producer.commit_transaction(20)
    assert sorted(int(value) for value in consume(kafka, name, 300)) == list(range(300))


def consume(servers, name, count, protocol="consumer"):
    settings = {"group.id": name, "group.protocol": protocol, "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": servers, **settings})
    consumer.subscribe([name])
    values = []
    try:
        while len(values) < count:
            records = consume_some(consumer)
            values += [record.value() for record in records]
    finally:
        consumer.close()
    return values


def consume_some(consumer):
    records = consumer.consume(1, 10) + consumer.consume(1000, 0.05)
    assert records, "nothing came for ten seconds"
    assert not [record.error() for record in records if record.error()]
    return records
