"""What the primary wrote is read as rows: scored events in columns, rejects from their headers, strangers left out."""

from __future__ import annotations

import json

import fastavro
import numpy as np
import pytest
from confluent_kafka import Message

from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.details import ScoredDetails
from stream_infer.avro.fields import Fields
from stream_infer.avro.schema import SchemaText
from stream_infer.errors import RegistryError
from stream_infer.records import Position
from stream_infer.rejects import Reject
from stream_infer.shadow.primary import NAME, NUMBERS, VERSION, PrimaryReader
from tests.rejected import headers_of
from tests.unit.avro.avro_data import encode, framed

SCHEMA = fastavro.parse_schema(json.loads(schemas.text("scored_event")))


class Registry:
    """Knows schema 1; of schema 2 it says nothing for now."""

    framed = True

    def get(self, schema_id: int) -> SchemaText:
        if schema_id == 2:
            raise RegistryError("not now")
        return SchemaText(schemas.text("scored_event"))


def event(offset: int, version: str = "v1", partition: int = 0) -> dict[str, object]:
    default = {field["name"]: field["default"] for field in SCHEMA["fields"] if "default" in field}
    return default | {
        "event_id": f"e-{offset}",
        "entity": "host",
        "time": 1_700_000_000_000 + offset,
        "score": offset / 2,
        "threshold": 3.0,
        "is_anomaly": offset / 2 >= 3,
        "contributions": [{"feature": "cpu", "share": 0.75}],
        "window_full": offset > 1,
        "time_order": "in_order",
        "model_name": "smd",
        "model_version": version,
        "source_topic": "events",
        "source_partition": partition,
        "source_offset": offset,
    }


def message(position: int, value: bytes, headers: list[tuple[str, bytes | None]] | None = None) -> Message:
    return Message(
        topic="any",
        partition=0,
        offset=position,
        key=b"host",
        value=value,
        headers=headers,
        timestamp=(1, 1_700_000_000_000 + position),
    )


@pytest.fixture
def reader() -> PrimaryReader:
    return PrimaryReader(Decoder(Registry(), Fields(NUMBERS, len(NUMBERS), NAME, None, VERSION)), "events")


def test_scored_events_with_a_change_of_version(reader):
    values = [framed(1, encode(SCHEMA, event(n, "v1" if n < 12 else "v2"))) for n in (10, 11, 12)]
    found, waiting = reader.scored([message(100 + n, value) for n, value in enumerate(values)])
    (partition, rows), *others = found

    assert (partition, others, waiting, reader.unusable_count) == (0, [], [], 0)
    assert rows.key.tolist() == [10, 11, 12]
    assert rows.position.tolist() == [100, 101, 102]
    assert rows.numbers.tolist() == [[5.0, 3.0, 1, 1], [5.5, 3.0, 1, 1], [6.0, 3.0, 1, 1]]
    assert rows.model == [(b"smd", b"v1"), (b"smd", b"v1"), (b"smd", b"v2")]


def test_strangers_are_counted_and_left_out(reader):
    good = framed(1, encode(SCHEMA, event(5)))
    elsewhere = framed(1, encode(SCHEMA, event(6, partition=3)))
    found, _ = reader.scored([message(0, b"noise"), message(1, good), message(2, elsewhere)])

    assert [rows.key.tolist() for _, rows in found] == [[5]]
    assert reader.unusable_count == 2


def test_what_cannot_be_read_now_waits_with_all_behind_it(reader):
    values = [framed(schema, encode(SCHEMA, event(n))) for n, schema in enumerate((1, 2, 1))]
    found, waiting = reader.scored([message(n, value) for n, value in enumerate(values)])

    assert [rows.key.tolist() for _, rows in found] == [[0]]
    assert [one.offset() for one in waiting] == [1, 2]
    assert reader.unusable_count == 0


def test_rejects_by_their_headers(reader):
    ours = Reject("decode", "truncated", "too short", Position("events", 0, 8), 1, "v1", 5, 6)
    theirs = Reject("decode", "truncated", "too short", Position("others", 0, 8), 1, "v1", 5, 6)
    messages = [message(3, b"x", headers_of(ours)), message(4, b"x", headers_of(theirs)), message(5, b"x")]
    ((partition, rows),) = reader.rejected(messages)

    assert partition == 0
    assert (rows.key.tolist(), rows.position.tolist()) == ([8], [3])
    assert rows.rejects == [ours]
    assert reader.unusable_count == 2


def test_details_of_a_single_event():
    details = ScoredDetails(Registry(), ["cpu", "mem"])
    payload = framed(1, encode(SCHEMA, event(9)))
    contributions = fastavro.parse_schema(json.loads(schemas.text("comparison")))["fields"]
    side = next(field["type"] for field in contributions if field["name"] == "primary")
    array = next(field["type"] for field in side["fields"] if field["name"] == "contributions")

    assert details.identity(payload) == (b"e-9", b"host", 1_700_000_000_009)
    assert details.contributions(payload) == encode(array, [{"feature": "cpu", "share": 0.75}])
    own = details.own_contributions(np.array([1, -1], np.int32), np.array([0.5, 0.0], np.float32))
    assert own == encode(array, [{"feature": "mem", "share": 0.5}])
