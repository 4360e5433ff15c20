"""Schemas from a real registry: what confluent-kafka's serializer wrote is decoded, one that is down is waited for."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import uuid
from contextlib import suppress

import numpy as np
import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.registry import UNKNOWN_TTL_S, Registry
from stream_infer.avro.source import UnknownSchemaError
from stream_infer.errors import RegistryError
from tests.unit.avro.avro_data import batch_of, encode, framed, record, text

pytestmark = pytest.mark.kafka

FIELDS = Fields(("x",), 1, "entity", None, None)
NO_SUCH_ID = 2_000_000_000
JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'


def event(name):
    return record(("entity", "string"), ("x", "double"), name=name)


def unique(name):
    return f"{name}{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(registry):
    with SchemaRegistryClient({"url": registry, "timeout": 60}) as opened:
        yield opened


@pytest.fixture
def source(registry):
    opened = Registry({"url": registry}, timeout_s=60)
    yield opened
    opened.close()


class Line:
    """A line to the registry that can be cut: relays connections to it while it is up, refuses them while not."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").split("/")[0].split(":")
        self._target = (host, int(port))
        self._path = url.removeprefix("http://").partition("/")[2]
        self._listener = None
        self._open = []
        self.sent = bytearray()
        self._place = (
            socket.socket()
        )  # keeps the port while the line is cut: it may be one of outgoing connections
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/{self._path}"

    def up(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()

    def close(self):
        self.cut()
        self._place.close()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, one, other):
        try:
            while data := one.recv(65536):
                self.sent += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def line(registry):
    opened = Line(registry)
    opened.up()
    yield opened
    opened.close()


def test_what_the_avro_serializer_wrote_is_decoded(client, source):
    topic = unique("events")
    serialize = AvroSerializer(
        client, text(event("Event")), conf={"subject.name.strategy": topic_subject_name_strategy}
    )
    context = SerializationContext(topic, MessageField.VALUE)
    payloads = [serialize({"entity": f"e{number}", "x": number / 2}, context) for number in range(100)]

    decoded = Decoder(source, FIELDS).decode(batch_of(payloads))

    assert list(decoded.rejects) == []
    np.testing.assert_array_equal(decoded.columns.features[:, 0], np.arange(100) / 2)
    assert decoded.columns.entity[99] == b"e99"


def test_references_are_followed(client, source):
    point, place, outer = unique("Point"), unique("Place"), unique("Event")
    client.register_schema(point, Schema(text(record(("x", "double"), name=point)), "AVRO"))
    place_text = text(record(("at", point), name=place))
    client.register_schema(place, Schema(place_text, "AVRO", [SchemaReference(point, point, 1)]))
    schema = Schema(
        text(record(("entity", "string"), ("place", ["null", place]), ("point", point), name=outer)),
        "AVRO",
        [SchemaReference(place, place, 1), SchemaReference(point, point, 1)],
    )
    schema_id = client.register_schema(outer, schema)
    body = b"\x02e" + b"\x02" + np.float64(1.5).tobytes() + np.float64(2.5).tobytes()

    fields = Fields(("place.at.x", "point.x"), 2, "entity", None, None)
    decoded = Decoder(source, fields).decode(batch_of([framed(schema_id, body)]))

    assert list(decoded.rejects) == []
    assert decoded.columns.features.tolist() == [[1.5, 2.5]]


def test_an_id_that_the_registry_does_not_have_is_a_reject(source):
    decoded = Decoder(source, FIELDS).decode(batch_of([framed(NO_SUCH_ID, b"\x02e" + bytes(8))]))
    assert [fault.error for _, fault in decoded.rejects] == ["schema_unknown"]
    assert str(NO_SUCH_ID) in decoded.rejects.faults[0].reason
    assert len(decoded.waiting) == 0


def test_an_unknown_id_is_asked_for_again_only_after_a_while(line):
    now = [0.0]
    source = Registry({"url": line.url}, timeout_s=60, clock=lambda: now[0])
    with pytest.raises(UnknownSchemaError):
        source.get(NO_SUCH_ID)
    line.cut()
    now[0] = UNKNOWN_TTL_S - 1
    with pytest.raises(UnknownSchemaError):
        source.get(NO_SUCH_ID)
    now[0] = UNKNOWN_TTL_S + 1
    with pytest.raises(RegistryError):
        source.get(NO_SUCH_ID)
    line.up()
    source.close()


def test_known_ids_go_on_while_the_registry_is_down_and_unknown_ones_wait(client, line):
    known = client.register_schema(unique("known"), Schema(text(event(unique("Known"))), "AVRO"))
    later = client.register_schema(unique("later"), Schema(text(event(unique("Later"))), "AVRO"))
    body = b"\x02e" + bytes(8)
    source = Registry({"url": line.url}, timeout_s=60)
    decoder = Decoder(source, FIELDS)
    decoder.decode(batch_of([framed(known, body)]))

    line.cut()
    batch = batch_of([framed(known, body), framed(later, body), framed(known, body), b"\x01"])
    decoded = decoder.decode(batch)
    assert decoded.columns.rows.tolist() == [0, 2]
    assert decoded.waiting.tolist() == [1]
    assert decoded.rejects.rows.tolist() == [3]

    started = time.monotonic()
    for _ in range(100):
        assert decoder.decode(batch).waiting.tolist() == [1]
    assert time.monotonic() - started < 5  # a registry that is down is not asked for every batch

    line.up()
    deadline = time.monotonic() + 120
    while len(decoder.decode(batch).waiting):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert decoder.decode(batch).columns.rows.tolist() == [0, 1, 2]
    source.close()


def test_the_error_of_a_registry_that_is_down_names_it_and_the_cure(line):
    line.cut()
    source = Registry({"url": line.url}, timeout_s=60)
    with pytest.raises(RegistryError, match=rf"{line.url} gave no answer for .*; check registry\.url"):
        source.check()
    line.up()
    source.check()
    source.close()


def test_something_else_at_the_url_is_not_an_unknown_schema(registry):
    """A 404 of a wrong path must not make rejects of everything."""
    source = Registry({"url": registry.split("/apis")[0] + "/nowhere"}, timeout_s=60)
    with pytest.raises(RegistryError):
        source.get(1)
    source.close()


def test_a_restart_needs_no_registry_with_a_cache(client, line, tmp_path):
    point, outer = unique("Point"), unique("Event")
    client.register_schema(point, Schema(text(record(("x", "double"), name=point)), "AVRO"))
    schema = Schema(
        text(record(("entity", "string"), ("p", point), name=outer)),
        "AVRO",
        [SchemaReference(point, point, 1)],
    )
    schema_id = client.register_schema(outer, schema)
    first = Registry({"url": line.url}, timeout_s=60, cache_dir=tmp_path)
    got = first.get(schema_id)
    first.close()

    line.cut()
    second = Registry({"url": line.url}, timeout_s=60, cache_dir=tmp_path)
    assert second.get(schema_id) == got
    (kept,) = tmp_path.glob("*/*.json")
    kept.write_text("{")
    third = Registry({"url": line.url}, timeout_s=60, cache_dir=tmp_path)
    with pytest.raises(RegistryError):
        third.get(schema_id)
    second.close()
    third.close()
    line.up()


def test_a_cache_that_cannot_be_written_is_a_warning(client, registry, tmp_path, caplog):
    schema_id = client.register_schema(unique("s"), Schema(text(event(unique("E"))), "AVRO"))
    (tmp_path / "file").write_text("")
    source = Registry({"url": registry}, timeout_s=60, cache_dir=tmp_path / "file")
    assert json.loads(source.get(schema_id).text)["type"] == "record"
    assert "is not kept" in caplog.text
    source.close()


def test_a_flood_of_ids_is_not_a_flood_of_requests(line):
    source = Registry({"url": line.url}, timeout_s=60, clock=lambda: 5.0)
    payloads = [framed(NO_SUCH_ID + number, b"") for number in range(200)]
    decoded = Decoder(source, FIELDS).decode(batch_of(payloads))
    assert len(decoded.rejects) == 50
    assert len(decoded.waiting) == 150
    source.close()


def test_the_output_schema_is_registered_once(source, client):
    subject = unique("scored")
    schema_id = source.register(subject, schemas.text("scored_event"))
    assert source.register(subject, schemas.text("scored_event")) == schema_id
    assert client.get_latest_version(subject).schema_id == schema_id
    assert json.loads(source.get(schema_id).text)["name"] == "ScoredEvent"


def test_the_login_goes_with_every_question_and_into_no_error(line):
    source = Registry({"url": line.url, "basic.auth.user.info": "worker:canary-secret"}, timeout_s=60)
    source.check()
    assert (
        b"authorization: basic " + base64.b64encode(b"worker:canary-secret").lower()
        in bytes(line.sent).lower()
    )
    line.cut()
    with pytest.raises(RegistryError) as caught:
        source.check()
    assert "canary" not in str(caught.value)
    line.up()
    source.close()


def test_a_refused_schema_names_the_subject(source):
    with pytest.raises(RegistryError, match="broken-subject"):
        source.register("broken-subject", '{"type": "record"}')


def test_a_schema_that_is_not_avro_is_a_reject(client, source):
    schema_id = client.register_schema(unique("json"), Schema(JSON_SCHEMA, "JSON"))
    decoded = Decoder(source, FIELDS).decode(batch_of([framed(schema_id, b"")]))
    assert [fault.error for _, fault in decoded.rejects] == ["schema"]
    assert "JSON, not Avro" in decoded.rejects.faults[0].reason


def test_the_bytes_of_the_serializer_are_those_of_the_frame(client):
    """What framed() builds in the unit tests is what producers send."""
    topic, schema = unique("events"), event("Event")
    serialize = AvroSerializer(
        client, text(schema), conf={"subject.name.strategy": topic_subject_name_strategy}
    )
    datum = {"entity": "e", "x": 1.0}
    payload = serialize(datum, SerializationContext(topic, MessageField.VALUE))
    schema_id = client.get_latest_version(f"{topic}-value").schema_id
    assert payload == framed(schema_id, encode(schema, datum))
