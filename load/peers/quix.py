"""Quix Streams: a streaming data frame, one record at a time, exactly-once.

Its windows and state live in RocksDB; here they are arrays in memory, which is faster than what its users would have.
The same commit interval as the worker's; offsets and results in one transaction, as it does by itself.

    python -m load.peers.quix SERVERS TOPIC GROUP MODEL SCHEMA
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from quixstreams import Application, message_context

from load.peers.detector import Codec, Detector


def main(servers: str, topic: str, group: str, model: str, schema: str) -> None:
    """Score the events of the topic until the process is ended."""
    detector = Detector(Path(model))
    codec = Codec(Path(schema), topic, detector.identity)

    def score(payload: bytes) -> bytes:
        event = codec.decode(payload)
        (result,) = detector.score([event])
        context = message_context()
        return codec.encode(event, result, context.partition, context.offset)

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            servers,
            consumer_group=group,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=0.1,
            auto_create_topics=False,
            state_dir=state,
            consumer_extra_config={"fetch.queue.backoff.ms": 2},
            producer_extra_config={"queue.buffering.max.messages": 500_000, "retry.backoff.ms": 1},
            loglevel="WARNING",
        )
        events = app.topic(topic, key_deserializer="bytes", value_deserializer="bytes")
        scored = app.topic(f"{topic}.scored", key_serializer="bytes", value_serializer="bytes")
        app.dataframe(events).apply(score).to_topic(scored)
        app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
