"""A comparison topic as a shadow writes it: transactions, one of them aborted, two versions of the primary."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import fastavro
import httpx
import numpy as np
from confluent_kafka import Producer

from stream_infer.avro import schemas
from stream_infer.cluster import Cluster, Topic

_SCHEMA = fastavro.parse_schema(json.loads(schemas.text("comparison")))
_FRAME = b"\0" + schemas.IDS["comparison"].to_bytes(4, "big")
ENTITIES = 6


def create(servers: str, topic: str, partitions: int) -> None:
    """Make a topic, and wait until the broker knows it."""
    Cluster.open({"bootstrap.servers": servers}, timeout_s=60).create([Topic(topic, partitions, 1)])


def summary(port: int) -> dict[str, Any]:
    """The page of the analysts' app; empty while there is none."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/summary", timeout=20)
        return dict(answer.raise_for_status().json())
    except httpx.HTTPError:
        return {}


def records(count: int, seed: int = 0, first: int = 0) -> Iterator[dict[str, Any]]:
    """Comparisons of events a second apart, of ENTITIES entities; a tenth of the primary's anomalies flip."""
    rng = np.random.default_rng(seed)
    for number in range(first, first + count):
        score = float(rng.lognormal(0, 0.6))
        other = score * float(rng.lognormal(0, 0.15))
        version = "p1" if number < first + count * 0.8 else "p2"
        failed = rng.random() < 0.02
        primary, shadow = _side("smd", version, score, number), _side("candidate", "s1", other, number + 30)
        if failed:
            shadow |= {
                "score": None,
                "threshold": None,
                "is_anomaly": None,
                "error": "truncated",
                "reason": "cut off",
            }
        yield {
            "event_id": f"e-{number}",
            "entity": f"machine-{number % ENTITIES}",
            "time": 1_700_000_000_000 + number * 1000,
            "input_time": 1_700_000_000_000 + number * 1000,
            "source_topic": "events",
            "source_partition": 0,
            "source_offset": number,
            "shadow_id": "shadow",
            "primary": primary,
            "shadow": shadow,
            "delta": None if failed else other - score,
            "agreement": None if failed else primary["is_anomaly"] == shadow["is_anomaly"],
        }


def _side(name: str, version: str, score: float, published: int) -> dict[str, Any]:
    return {
        "model_name": name,
        "model_version": version,
        "score": score,
        "threshold": 2.5,
        "is_anomaly": score >= 2.5,
        "window_full": True,
        "error": None,
        "reason": None,
        "contributions": [{"feature": "cpu_r", "share": 0.5}, {"feature": "load_1", "share": 0.25}],
        "published_at": 1_700_000_000_020 + published * 1000,
    }


def encode(record: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    body.write(_FRAME)
    fastavro.schemaless_writer(body, _SCHEMA, record)
    return body.getvalue()


class Writer:
    """A transactional producer, as the shadow's."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._topic, self._partitions = topic, partitions
        self._producer = Producer({"bootstrap.servers": servers, "transactional.id": f"{topic}-writer"})
        self._producer.init_transactions(60)

    def write(self, made: Iterable[dict[str, Any]], *, commit: bool = True) -> int:
        self._producer.begin_transaction()
        count = 0
        for count, record in enumerate(made, 1):
            entity = record["entity"]
            partition = int(entity.rpartition("-")[2]) % self._partitions
            self._producer.produce(self._topic, encode(record), entity.encode(), partition)
            if count % 1000 == 0:
                self._producer.poll(0)
        self._producer.flush(60)
        if commit:
            self._producer.commit_transaction(60)
        else:
            self._producer.abort_transaction(60)
        return count
