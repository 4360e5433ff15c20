"""What the rivals score with says what the worker says, so that a comparison compares the same work."""

import io
import json
from pathlib import Path

import fastavro
import numpy as np
import pytest

from load.autoencoder import autoencoder
from load.check import Framed
from load.peers.detector import Codec, Detector
from load.traffic import Traffic
from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.models.loading import load_model
from stream_infer.records import Batch, Blobs
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable


@pytest.fixture(scope="module")
def traffic():
    return Traffic(width=8)


@pytest.fixture(scope="module")
def model(traffic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "autoencoder"
    autoencoder(traffic).save(folder)
    return folder


def batch_of(payloads):
    data = np.frombuffer(b"".join(payloads), np.uint8)
    ends = np.cumsum([len(payload) for payload in payloads])
    count = len(payloads)
    none = np.zeros(count, np.bool_)
    return Batch(
        data,
        ends,
        none,
        np.zeros(count, np.int32),
        np.arange(count),
        np.zeros(count, np.int64),
        Blobs.of([None] * count),
    )


def test_scores_thresholds_and_flags_are_the_workers(traffic, model, tmp_path: Path):
    _, payloads = traffic.pairs(0, 6_000)
    schema = tmp_path / "event.avsc"
    schema.write_text(traffic.schema)
    detector = Detector(model)
    codec = Codec(schema, "events", detector.identity)
    events = [codec.decode(payload) for payload in payloads]
    results = [result for at in range(0, 6_000, 700) for result in detector.score(events[at : at + 700])]

    loaded = load_model(model)
    decoder = Decoder(Framed(traffic.schema), Fields("features", 8, "entity_id", "ts", "event_id"))
    columns = decoder.decode(batch_of(payloads)).columns
    table = EntityTable(loaded.layout, loaded.profiles)
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, table)
    _, scores, _ = scorer.score(columns, np.zeros(6_000, np.int32), np.arange(6_000))

    assert np.allclose([result.score for result in results], scores.score, rtol=1e-5)
    assert np.array_equal([result.threshold for result in results], scores.threshold)
    assert [result.is_anomaly for result in results] == scores.is_anomaly.tolist()
    assert [result.window_full for result in results] == scores.window_full.tolist()
    assert 0 < scores.is_anomaly.mean() < 0.05, "anomalies are rare, and there are some"

    which = int(np.flatnonzero(scores.is_anomaly)[0])
    payload = codec.encode(events[which], results[which], 3, 1234)
    written = fastavro.schemaless_reader(
        io.BytesIO(payload[5:]), json.loads(schemas.text("scored_event")), None
    )
    top = [loaded.manifest.features[number] for number in scores.top[which]]
    assert [one["feature"] for one in written["contributions"]] == top
    assert (written["source_partition"], written["source_offset"]) == (3, 1234)
