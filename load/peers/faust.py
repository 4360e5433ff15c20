"""faust-streaming: an agent that takes batches of events, exactly-once.

python -m load.peers.faust SERVERS TOPIC GROUP MODEL SCHEMA
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import faust

from load.peers.detector import Codec, Detector

BATCH = 500
WITHIN_S = 0.05


def application(servers: str, topic: str, group: str, model: str, schema: str, data: str) -> faust.App:
    """The app with its one agent."""
    detector = Detector(Path(model))
    codec = Codec(Path(schema), topic, detector.identity)
    app = faust.App(
        group,
        broker=f"kafka://{servers}",
        datadir=data,
        processing_guarantee="exactly_once",
        broker_commit_interval=0.1,
        broker_commit_every=10_000,
        stream_buffer_maxsize=16_384,
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        web_enabled=False,
    )
    events = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    scored = app.topic(f"{topic}.scored", key_serializer="raw", value_serializer="raw")

    @app.agent(events)
    async def detect(stream: faust.Stream) -> None:
        async for batch in stream.take_events(BATCH, within=WITHIN_S):
            decoded = [codec.decode(one.value) for one in batch]
            sent = []
            for one, event, result in zip(batch, decoded, detector.score(decoded), strict=True):
                message = one.message
                value = codec.encode(event, result, message.partition, message.offset)
                sent.append(await scored.send(key=message.key, value=value, partition=message.partition))
            await asyncio.gather(*sent)

    return app


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        faust.Worker(application(*sys.argv[1:], folder), loglevel="WARNING").execute_from_commandline()
