"""The embedded registry is a real Confluent-compatible one."""

import json
import os
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from stream_infer.embedded import EmbeddedRegistry, ports
from stream_infer.embedded import registry as embedded_registry
from stream_infer.errors import RegistryError

pytestmark = pytest.mark.kafka

ADDRESSES = {
    "0100007F": "127.0.0.1",
    "0000000000000000FFFF00000100007F": "127.0.0.1",
}  # plain, and mapped into IPv6
SCHEMA = {"type": "record", "name": "Event", "fields": [{"name": "value", "type": "double"}]}


def test_a_schema_is_registered_and_fetched(registry):
    with httpx.Client(base_url=registry, timeout=60) as http:
        answer = http.post("/subjects/events-value/versions", json={"schema": json.dumps(SCHEMA)})
        schema_id = answer.raise_for_status().json()["id"]
        found = http.get(f"/schemas/ids/{schema_id}").raise_for_status().json()
        assert json.loads(found["schema"]) == SCHEMA
        assert http.get("/schemas/ids/999999").json()["error_code"] == 40403


def test_the_ordinary_client_agrees(registry):
    schema = Schema(json.dumps(SCHEMA), "AVRO")
    with SchemaRegistryClient({"url": registry, "timeout": 60}) as client:
        schema_id = client.register_schema("other-value", schema)
        assert client.register_schema("other-value", schema) == schema_id
        assert json.loads(client.get_schema(schema_id).schema_str) == SCHEMA


def test_it_ends_and_leaves_nothing():
    with EmbeddedRegistry() as started:
        url, port, scratch = started.url, started._port, started._log.parent
        assert sockets_of(started.pid) == {"127.0.0.1"}
        assert httpx.get(f"{url}/subjects", timeout=60).json() == []
    assert not ports.listening(port)
    assert not scratch.exists()
    with pytest.raises(RegistryError, match="not running"):
        _ = started.url


def test_a_registry_that_does_not_start_is_reported_with_its_log(tmp_path, monkeypatch):
    (tmp_path / "quarkus-run.jar").write_text("not a jar")
    monkeypatch.setattr(embedded_registry, "registry_home", lambda _: tmp_path)
    with pytest.raises(RegistryError, match=r"(?s)ended with status 1 while starting.*quarkus-run\.jar"):
        EmbeddedRegistry().start()


def sockets_of(pid):
    """The addresses the process listens on, as Linux tells."""
    inodes, found = set(), set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            inodes.add(os.readlink(path))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                found.add(words[1].rsplit(":", 1)[0])
    return {ADDRESSES.get(address, address) for address in found}
