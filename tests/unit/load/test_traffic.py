"""The events of the measurements are what their schema says, whatever their shape."""

import io
import json

import fastavro
import numpy as np
import pytest

from load.events import USUAL
from load.traffic import SCHEMA_ID, Traffic

SHAPES = [
    USUAL,
    Traffic(width=8),
    Traffic(width=380),
    Traffic(form="fields"),
    Traffic(form="mixed"),
    Traffic(entities=1_000, known=False),
]


def decoded(traffic, payload):
    assert payload[:5] == b"\0" + SCHEMA_ID.to_bytes(4, "big")
    body = io.BytesIO(payload[5:])
    event = fastavro.schemaless_reader(body, fastavro.parse_schema(json.loads(traffic.schema)), None)
    assert body.read() == b""
    return event


def value(event, path):
    for name in path.split("."):
        event = event[name]
    return event


@pytest.mark.parametrize("traffic", SHAPES, ids=lambda t: f"{t.form}-{t.width}-{t.entities}")
def test_an_event_holds_the_row_of_its_entity(traffic):
    start, count = 12_345, 700
    keys, payloads = traffic.pairs(start, count)
    numbers = np.arange(start, start + count)
    rows = traffic.rows(traffic.entity(numbers), numbers // traffic.entities)

    for key, payload, row in zip(keys, payloads, rows, strict=True):
        event = decoded(traffic, payload)
        assert event["entity_id"].encode() == key
        found = event["features"] if traffic.form == "array" else [value(event, p) for p in traffic.features]
        assert np.array_equal(np.float32(found), row)


@pytest.mark.parametrize("traffic", SHAPES, ids=lambda t: f"{t.form}-{t.width}-{t.entities}")
def test_a_round_has_every_entity_once(traffic):
    keys, _ = traffic.pairs(3 * traffic.entities, traffic.entities)

    assert len(set(keys)) == traffic.entities


def test_an_entity_stays_in_its_partition_and_its_time_rises():
    traffic = Traffic(entities=1_000, known=False)
    keys, payloads = traffic.pairs(0, 3_000)
    partitions = traffic.partitions(0, 3_000, 4)
    own = [i for i, key in enumerate(keys) if key == keys[17]]

    assert len({partitions[i] for i in own}) == 1
    times = [decoded(traffic, payloads[i])["ts"] for i in own]
    assert times == sorted(set(times))


def test_a_given_time_is_the_events():
    _, (payload,) = USUAL.pairs(5, 1, np.array([1_700_000_000_123]))

    assert decoded(USUAL, payload)["ts"].timestamp() == 1_700_000_000.123


def test_training_knows_no_more_than_its_hosts():
    with pytest.raises(ValueError, match="unknown"):
        Traffic(entities=1_000)
