"""Replay: the test rows of a file, in time order, through Kafka and the worker; streamed scores = offline scores.

``stream-infer score`` on the same rows gives the other side. The worker may be killed in the middle, to show the same
of a recovery.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fastavro
import numpy as np
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Producer

from load.check import check, messages_of, scored_decoder
from load.events import SCHEMA, SCHEMA_ID
from load.stand import Stand
from load.topics import PARTITIONS, committed_count, group
from stream_infer.delivery.source import batch_of
from stream_infer.models.dataset import read_dataset

__all__ = ["Replay", "events_of", "offline_scores", "replay", "send_events"]

_LONGEST_S = 300.0


@dataclass(frozen=True)
class Replay:
    """How streamed scores compare with offline ones; ``worst`` is relative to 1 or the score, whichever is larger."""

    events: int
    scored: int
    worst: float
    kills: int
    seconds: float


def replay(stand: Stand, data: Path, kills: int) -> Replay:
    """Send the test rows, kill the worker ``kills`` times on the way, compare every score. Raises when one is lost."""
    topic = stand.topic("replay")
    rows = list(events_of(data))
    began = time.monotonic()
    sender = threading.Thread(target=send_events, args=(stand.servers, topic, rows))
    sender.start()
    _work_off(stand, topic, len(rows), kills)
    sender.join()
    seconds = time.monotonic() - began
    check(stand, topic)
    streamed, offline = _streamed(stand, topic), offline_scores(stand, data, stand.model)
    if streamed.keys() != offline.keys():
        raise RuntimeError(f"{len(offline)} rows scored offline, {len(streamed)} streamed")
    worst = max(abs(streamed[key] - score) / max(1.0, abs(score)) for key, score in offline.items())
    return Replay(len(rows), len(streamed), worst, kills, seconds)


def events_of(data: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and payload of each test row, by time."""
    schema = fastavro.parse_schema(json.loads(SCHEMA))
    dataset = read_dataset(data)
    test = dataset.rows_of("test")
    for row in test[np.lexsort((dataset.entity[test], dataset.time_ms[test]))].tolist():
        entity = dataset.entities[dataset.entity[row]]
        body = io.BytesIO()
        body.write(b"\0" + SCHEMA_ID.to_bytes(4, "big"))
        event = {
            "event_id": f"{entity} {dataset.seq[row]}",
            "entity_id": entity,
            "ts": int(dataset.time_ms[row]),
            "features": dataset.features[row].tolist(),
        }
        fastavro.schemaless_writer(body, schema, event)
        yield int(dataset.entity[row]) % PARTITIONS, entity.encode(), body.getvalue()


def send_events(servers: str, topic: str, rows: list[tuple[int, bytes, bytes]]) -> None:
    """Send these: partition, key and payload of each."""
    producer = Producer({"bootstrap.servers": servers, "queue.buffering.max.messages": 1_000_000})
    for partition, key, value in rows:
        producer.produce(topic, value, key, partition)
    producer.flush(120)


def _work_off(stand: Stand, topic: str, total: int, kills: int) -> None:
    """Run a worker until all is committed; it is killed after each of ``kills`` equal parts and started again."""
    watcher = Consumer(
        {"bootstrap.servers": stand.servers, "group.id": group(topic), "enable.auto.commit": False}
    )
    deadline = time.monotonic() + _LONGEST_S
    run, killed = stand.worker(topic, DELIVERY__SLOT="0"), 0
    try:
        while (done := committed_count(watcher, topic)) < total:
            run.check()
            if killed < kills and done > total * (killed + 1) // (kills + 1):
                run.kill()
                run, killed = stand.worker(topic, DELIVERY__SLOT="0"), killed + 1
            if time.monotonic() > deadline:
                raise RuntimeError(f"{done} of {total} events after {_LONGEST_S:.0f} s\n{run.text()[-2000:]}")
            time.sleep(0.05)
    finally:
        watcher.close()
        run.stop()
    if killed < kills:
        raise RuntimeError(f"the worker was done before kill {killed + 1} of {kills}")


def _streamed(stand: Stand, topic: str) -> dict[bytes, float]:
    decoder = scored_decoder("event_id")
    scores: dict[bytes, float] = {}
    for messages in messages_of(stand.servers, f"{topic}.scored"):
        columns = decoder.decode(batch_of(messages)).columns
        scores |= zip(
            (columns.entity[i] for i in range(len(columns))), columns.features[:, 0].tolist(), strict=True
        )
    return scores


def offline_scores(stand: Stand, data: Path, model: Path) -> dict[bytes, float]:
    """Scores by event id, of `stream-infer score`."""
    out = stand.folder / "offline.parquet"
    stand.call("score", "--data", data, "--model", model, "--split", "test", "--out", out)
    table = pq.read_table(out)
    keys = (
        f"{e} {s}".encode()
        for e, s in zip(table["entity"].to_pylist(), table["seq"].to_pylist(), strict=True)
    )
    return dict(zip(keys, table["score"].to_pylist(), strict=True))
