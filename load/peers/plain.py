"""The rival everyone writes first: confluent-kafka and fastavro in a loop, exactly-once, scoring in batches.

Tuned with the same care as the worker where its form allows: batches by ``consume``, one inference per batch, arrays
for the windows, ``flush`` before the offsets, the same commit interval, the same client settings.
What it does not do: survive faults (no state restore, no rewind, no rejects), so it is less work than the worker's.

    python -m load.peers.plain SERVERS TOPIC GROUP MODEL EVENTS
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from load.events import SCHEMA
from stream_infer.avro import schemas
from stream_infer.models.loading import LoadedModel, load_model

COMMIT_INTERVAL_S = 0.1
BATCH = 1000


class Detector:
    """Windows, smoothing and thresholds per entity, in NumPy."""

    def __init__(self, loaded: LoadedModel) -> None:
        profiles, layout = loaded.profiles, loaded.layout
        self.model, self.layout, self.names = loaded.model, layout, loaded.manifest.features
        self.index = {name.decode(): i for i, name in enumerate(profiles.names)}
        self.center, self.spread = profiles.center, profiles.spread
        self.error_sd, self.scale, self.threshold = profiles.error_sd, profiles.scale, profiles.threshold
        count = len(profiles.names)
        self.windows = np.zeros((count, layout.window, layout.features), np.float32)
        self.seen = np.zeros(count, np.int64)
        self.smoothed = np.zeros((count, layout.terms, layout.features))
        self.smoothing = np.array(layout.smoothing)[:, None]
        self.clip = np.array(layout.clip)[:, None]

    def score(
        self, events: list[dict[str, Any]]
    ) -> list[tuple[float, float, bool, list[dict[str, Any]], bool]]:
        """Score, threshold, flag, contributions and window_full of each event."""
        entity = np.array([self.index[event["entity_id"]] for event in events])
        rows = np.array([event["features"] for event in events])
        spread = 5 * self.spread[entity]
        standard = (5 * np.arcsinh((rows - self.center[entity]) / spread)).astype(np.float32)
        windows = np.empty((len(events), *self.windows.shape[1:]), np.float32)
        seen = []
        for i, e in enumerate(entity.tolist()):
            own = self.windows[e]
            if self.seen[e] == 0:
                own[:] = standard[i]
            else:
                own[:-1] = own[1:]
                own[-1] = standard[i]
            self.seen[e] += 1
            seen.append(self.seen[e])
            windows[i] = own
        scaled = self.model.score(windows) / self.error_sd[entity]
        errors = np.minimum(np.square(scaled, dtype=np.float64), self.clip)
        results = []
        for i, e in enumerate(entity.tolist()):
            if seen[i] == 1:
                self.smoothed[e] = errors[i]
            else:
                self.smoothed[e] += self.smoothing * (errors[i] - self.smoothed[e])
            parts = self.smoothed[e] / self.scale[e][:, None]
            score = float(parts.mean(axis=1).sum())
            anomaly = score >= self.threshold[e]
            full = bool(seen[i] >= self.layout.window)
            results.append(
                (score, float(self.threshold[e]), bool(anomaly), self._top(parts, score, anomaly), full)
            )
        return results

    def _top(self, parts: np.ndarray, score: float, anomaly: bool) -> list[dict[str, Any]]:  # noqa: FBT001
        if not anomaly:
            return []
        shares = parts.sum(axis=0) / parts.shape[1] / score
        return [{"feature": self.names[k], "share": float(shares[k])} for k in np.argsort(-shares)[:3]]


def main(servers: str, topic: str, group: str, model: str, events: int) -> None:
    """Score ``events`` events of the topic, then return."""
    loaded = load_model(Path(model))
    detector = Detector(loaded)
    reader_schema = fastavro.parse_schema(json.loads(SCHEMA))
    writer_schema = fastavro.parse_schema(json.loads(schemas.text("scored_event")))
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
    done, opened_at, positions = 0, None, {}
    name, version = loaded.model.name, loaded.model.version
    while done < events:
        messages = [m for m in consumer.consume(BATCH, 0.1) if m.error() is None]
        if messages:
            if opened_at is None:
                producer.begin_transaction()
                opened_at = time.monotonic()
            decoded = [
                fastavro.schemaless_reader(io.BytesIO(m.value()[5:]), reader_schema, None) for m in messages
            ]
            for message, event, result in zip(messages, decoded, detector.score(decoded), strict=True):
                score, threshold, anomaly, contributions, full = result
                body = io.BytesIO()
                body.write(b"\0\0\0\0\1")
                fastavro.schemaless_writer(
                    body,
                    writer_schema,
                    {
                        "event_id": event["event_id"],
                        "entity": event["entity_id"],
                        "time": event["ts"],
                        "score": score,
                        "threshold": threshold,
                        "is_anomaly": anomaly,
                        "contributions": contributions,
                        "window_full": full,
                        "time_order": "in_order",
                        "model_name": name,
                        "model_version": version,
                        "source_topic": topic,
                        "source_partition": message.partition(),
                        "source_offset": message.offset(),
                    },
                )
                producer.produce(f"{topic}.scored", body.getvalue(), message.key(), message.partition())
                positions[message.partition()] = message.offset() + 1
            done += len(messages)
        if opened_at is not None and (done >= events or time.monotonic() - opened_at >= COMMIT_INTERVAL_S):
            producer.flush()
            offsets = [TopicPartition(topic, p, offset) for p, offset in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            opened_at = None
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
