"""An open-loop producer: every event leaves at its intended time, whatever the broker does; that time is in the event.

python -m load.send SERVERS TOPIC RATE SECONDS [PARTITIONS [LINGER_MS]]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from confluent_kafka import Producer

from load.clients import FAILOVER
from load.events import HOSTS, pairs
from load.topics import PARTITIONS

__all__ = ["send"]

_TICK_S = 0.002


def send(
    servers: str,
    topic: str,
    rate: float,
    seconds: float,
    partitions: int = PARTITIONS,
    linger_ms: int = 0,
) -> None:
    """Send ``rate`` events a second for ``seconds``; an event's partition is its host's number.

    Without ``linger_ms`` each event is sent by itself, for latencies. With it the producer is idempotent, too: few
    requests are on their way at a time, so that what had to wait for a new leader does not come one by one.
    """
    producer = Producer(
        {
            **FAILOVER,
            "bootstrap.servers": servers,
            "linger.ms": linger_ms,
            "enable.idempotence": linger_ms > 0,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.list_topics(topic, timeout=60)
    began = time.time() + 0.05
    sent, total = 0, int(rate * seconds)
    while sent < total:
        due = min(total, int((time.time() - began) * rate))
        if due > sent:
            intended_ms = ((began + np.arange(sent, due) / rate) * 1000).astype(np.int64)
            keys, values = pairs(sent, due - sent, intended_ms)
            for number, (key, value) in enumerate(zip(keys, values, strict=True), sent):
                producer.produce(topic, value, key, number % HOSTS % partitions)
            sent = due
        producer.poll(0)
        time.sleep(_TICK_S)
    producer.flush(60)


if __name__ == "__main__":
    send(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), *map(int, sys.argv[5:]))
