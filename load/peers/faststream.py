"""FastStream on confluent-kafka: a subscriber of batches. It has no transactions, so this is at-least-once.

python -m load.peers.faststream SERVERS TOPIC GROUP MODEL SCHEMA
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage, KafkaPublishMessage

from load.peers.detector import Codec, Detector

BATCH = 1_000
POLL_S = 0.05


def application(servers: str, topic: str, group: str, model: str, schema: str) -> FastStream:
    """The app with its one subscriber."""
    detector = Detector(Path(model))
    codec = Codec(Path(schema), topic, detector.identity)
    broker = KafkaBroker(
        servers,
        config={"fetch.queue.backoff.ms": 2, "queue.buffering.max.messages": 500_000},
        log_level=logging.DEBUG,
    )

    async def raw(message: KafkaMessage) -> list[bytes]:
        return [one.value() for one in message.raw_message]

    @broker.subscriber(
        topic,
        group_id=group,
        batch=True,
        max_records=BATCH,
        polling_interval=POLL_S,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        isolation_level="read_committed",
        decoder=raw,
    )
    async def detect(payloads: list[bytes], message: KafkaMessage) -> None:
        events = [codec.decode(payload) for payload in payloads]
        scored = [
            KafkaPublishMessage(codec.encode(event, result, one.partition(), one.offset()), key=one.key())
            for one, event, result in zip(message.raw_message, events, detector.score(events), strict=True)
        ]
        await broker.publish_batch(*scored, topic=f"{topic}.scored")

    return FastStream(broker)


if __name__ == "__main__":
    asyncio.run(application(*sys.argv[1:]).run())
