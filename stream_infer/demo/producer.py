"""The process that publishes the events: an ordinary producer, with confluent-kafka's own Avro serializer.

``python -m stream_infer.demo.producer SETTINGS.json`` prepares itself, waits for the file ``go``, publishes, and ends
with one line ``{"sent": N}`` on standard output. SIGTERM ends it early, in good order.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from stream_infer.demo.breakage import broken
from stream_infer.demo.traffic import Traffic, event_schema
from stream_infer.models.dataset import read_dataset

__all__ = ["Assignment", "publish"]

_TICK_S = 0.002
_FLUSH_S = 30.0
_REGISTRY_TIMEOUT_S = 5


@dataclass(frozen=True)
class Assignment:
    """What the producer is told: where to, of which data, how many, how fast (0 = as fast as possible)."""

    bootstrap_servers: str
    registry_url: str
    topic: str
    data: str
    events_count: int
    broken: float
    rate: float
    go: str

    def write(self, path: Path) -> None:
        """Write it down for the process."""
        path.write_text(json.dumps(asdict(self), indent=2), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``write`` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def publish(assignment: Assignment, wanted: Callable[[], bool]) -> int:
    """Publish while it is ``wanted``; returns how many events the brokers confirmed."""
    traffic = Traffic.plan(read_dataset(assignment.data), assignment.events_count, assignment.broken)
    serialise = _serialiser(assignment, event_schema(traffic.data))
    failures: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": assignment.bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # as Java's producers: an entity is always in the same partition
            "linger.ms": 2,
        }
    )
    _wait_for(Path(assignment.go), wanted)
    sent = _send_all(producer, assignment, traffic, serialise, failures, wanted)
    left = producer.flush(_FLUSH_S)
    if failures or left:
        raise SystemExit(
            f"{len(failures) + left} of {sent} events were not taken: {failures[:1] or 'no answer'}"
        )
    return sent


def _serialiser(assignment: Assignment, schema: str) -> Callable[[dict[str, Any]], bytes]:
    # Without a time-out the client waits for ever; the default naming asks for what few registries have.
    client = SchemaRegistryClient({"url": assignment.registry_url, "timeout": _REGISTRY_TIMEOUT_S})
    naming = {"auto.register.schemas": True, "subject.name.strategy": topic_subject_name_strategy}
    serializer = AvroSerializer(client, schema, conf=naming)
    context = SerializationContext(assignment.topic, MessageField.VALUE)

    def serialise(datum: dict[str, Any]) -> bytes:
        payload: bytes = serializer(datum, context)
        return payload

    return serialise


def _wait_for(go: Path, wanted: Callable[[], bool]) -> None:
    while wanted() and not go.exists():
        time.sleep(0.02)


def _send_all(
    producer: Producer,
    assignment: Assignment,
    traffic: Traffic,
    serialise: Callable[[dict[str, Any]], bytes],
    failures: list[str],
    wanted: Callable[[], bool],
) -> int:
    """Produce the events at the rate; returns how many were handed to the client."""

    def confirmed(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    began_s, broken_count = time.monotonic(), 0
    for index, is_broken in enumerate(traffic.broken.tolist()):
        if assignment.rate:
            _wait_until(began_s + index / assignment.rate, producer)
        if not wanted():
            return index
        datum = traffic.datum(index)
        value = broken(broken_count, datum, serialise) if is_broken else serialise(datum)
        broken_count += is_broken
        while True:
            try:
                producer.produce(assignment.topic, value, datum["entity_id"], on_delivery=confirmed)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    return len(traffic)


def _wait_until(moment_s: float, producer: Producer) -> None:
    """Serve the client until then. Ahead by less than a tick is not worth a sleep."""
    while (ahead_s := moment_s - time.monotonic()) > _TICK_S:
        producer.poll(min(ahead_s, 0.05))


def _main() -> None:
    asked_to_end: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked_to_end.append(number))
    owner = os.getppid()
    sent = publish(Assignment.read(Path(sys.argv[1])), lambda: not asked_to_end and os.getppid() == owner)
    print(json.dumps({"sent": sent}), flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    _main()
