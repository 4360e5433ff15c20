"""The embedded Kafka is a real one, quick to start, and leaves nothing behind."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from stream_infer.cache import cache_dir
from stream_infer.cluster import Cluster, Topic
from stream_infer.embedded import EmbeddedKafka, aot, jars, ports
from stream_infer.embedded import kafka as embedded_kafka
from stream_infer.embedded.exercise import exercise
from stream_infer.embedded.jvm import Jvm
from stream_infer.embedded.versions import group_protocols
from stream_infer.errors import BrokerError, ConfigError

pytestmark = pytest.mark.kafka

QUIET = {"log_level": 0, "error_cb": lambda _: None}


@pytest.fixture(scope="module", autouse=True)
def cached():
    """The first download and the AOT cache are not what these tests are about."""
    EmbeddedKafka(progress=print).prepare()


@pytest.fixture
def other_cache(tmp_path, monkeypatch):
    """A cache of one's own with the same jars, to be damaged."""
    real = cache_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home = cache_dir() / "kafka-4.3.1"
    home.mkdir(parents=True)
    for path in (real / "kafka-4.3.1").glob("*.jar"):
        (home / path.name).symlink_to(path)
    return home


def test_starts_in_time_and_leaves_nothing_behind():
    kafka = EmbeddedKafka()
    kafka.start()
    try:
        directory, pids, servers = kafka.data_dir, kafka.pids, kafka.bootstrap_servers
        assert seen(servers) == {1}
        assert (directory / "logs" / "node-1.log").stat().st_size > 0
    finally:
        kafka.stop()
    kafka.stop()  # a second time is no error
    assert not [pid for pid in pids.values() if alive(pid)]
    assert not ports.listening(int(servers.rsplit(":", 1)[1]))
    assert not directory.exists()
    with pytest.raises(BrokerError, match="not running"):
        _ = kafka.bootstrap_servers


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_transaction_round_trip(kafka, topic, protocol):
    name = topic("round", partitions=3)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name, **QUIET})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(name, b"aborted", partition=0)
    producer.abort_transaction(60)
    producer.begin_transaction()
    for number in range(300):
        producer.produce(name, str(number).encode(), partition=number % 3)
    producer.commit_transaction(60)
    assert sorted(int(value) for value in consume(kafka, name, 300, protocol)) == list(range(300))


def test_topics_are_not_created_by_accident(kafka):
    producer = Producer({"bootstrap.servers": kafka, "message.timeout.ms": 3000, **QUIET})
    errors = []
    producer.produce("never.created", b"x", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    assert errors[0] is not None
    assert (
        "never.created"
        not in AdminClient({"bootstrap.servers": kafka, **QUIET}).list_topics(timeout=60).topics
    )


def test_kill_9_of_the_owner_leaves_nothing(tmp_path):
    program = """
import time
from stream_infer.embedded import EmbeddedKafka
kafka = EmbeddedKafka()
kafka.start()
print(kafka.pids[1], kafka.bootstrap_servers, kafka.data_dir, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        try:
            pid, servers, directory = owner.stdout.readline().split()
            assert alive(int(pid))
            assert seen(servers) == {1}
        finally:
            owner.kill()
    wait_until(lambda: not alive(int(pid)))
    wait_until(lambda: not Path(directory).exists())
    assert not ports.listening(int(servers.rsplit(":", 1)[1]))


def test_three_nodes_survive_the_death_of_one(tmp_path):
    with EmbeddedKafka(nodes=3) as kafka:
        servers = kafka.bootstrap_servers
        assert seen(servers) == {1, 2, 3}
        assert (
            len(
                {
                    line
                    for path in kafka.data_dir.rglob("meta.properties")
                    for line in lines_of(path, "cluster")
                }
            )
            == 1
        )
        assert (
            len({line for path in kafka.data_dir.rglob("meta.properties") for line in lines_of(path, "dire")})
            == 3
        )
        create(servers, "spread", partitions=3)
        first = kafka.pids[2]
        kafka.kill(2)
        assert sorted(kafka.pids) == [1, 3]
        assert not alive(first)
        produce(servers, "spread", 30)
        wait_until(lambda: seen(servers) == {1, 3})
        kafka.restart(2)
        assert kafka.pids[2] != first
        wait_until(lambda: seen(servers) == {1, 2, 3})
        assert len(consume(servers, "spread", 30)) == 30
        with pytest.raises(ConfigError, match="no node 4"):
            kafka.kill(4)


def test_a_paused_broker_answers_nothing_until_resumed_and_data_outlives_a_restart(tmp_path):
    with EmbeddedKafka(data_dir=tmp_path / "kept") as kafka:
        servers, pid = kafka.bootstrap_servers, kafka.pids[1]
        create(servers, "kept")
        produce(servers, "kept", 10)
        kafka.pause(1)
        with pytest.raises(KafkaException):
            AdminClient({"bootstrap.servers": servers, **QUIET}).list_topics(timeout=1)
        kafka.resume(1)
        assert seen(servers) == {1}
        kafka.restart(1)
        assert kafka.bootstrap_servers == servers
        assert kafka.pids[1] != pid
        assert len(consume(servers, "kept", 10)) == 10
    with pytest.raises(ConfigError, match="holds a cluster of 1"):
        EmbeddedKafka(nodes=3, data_dir=tmp_path / "kept").start()
    with EmbeddedKafka(data_dir=tmp_path / "kept") as kafka:
        assert len(consume(kafka.bootstrap_servers, "kept", 10, group="another")) == 10


def test_what_is_in_between_is_all_that_clients_see():
    (between,) = ports.free_ports(1)
    with EmbeddedKafka(advertised={1: f"{ports.HOST}:{between}"}) as kafka:
        inner = kafka.inner_addresses[1]
        assert inner != kafka.bootstrap_servers
        told = AdminClient({"bootstrap.servers": inner, **QUIET}).list_topics(timeout=60).brokers[1]
        assert (told.host, told.port) == (ports.HOST, between)
        kafka.restart(1)
        assert kafka.inner_addresses[1] == inner


def test_the_older_line_takes_transactions():
    with EmbeddedKafka(version="3.9.2", progress=print) as kafka:
        exercise(kafka.bootstrap_servers, group_protocols("3.9.2"))


def test_a_version_that_is_not_pinned_is_refused_with_a_choice():
    with pytest.raises(ConfigError, match=r"2\.8\.0.*4\.3\.1, 3\.9\.2"):
        EmbeddedKafka(version="2.8.0").start()


def test_a_broker_that_dies_at_start_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests start brokers at the same time
    with pytest.raises(BrokerError, match=r"(?s)broker 1 .*num\.io\.threads"):
        EmbeddedKafka(settings={"num.io.threads": "many"}).start()
    assert not list(tmp_path.glob("stream-infer-kafka-*"))


def test_a_port_taken_between_look_and_bind_is_given_up(monkeypatch):
    real = ports.free_ports
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        answers = [[taken, *real(2)]]
        monkeypatch.setattr(
            embedded_kafka, "free_ports", lambda count: answers.pop() if answers else real(count)
        )
        with EmbeddedKafka() as kafka:
            assert not answers
            assert kafka.bootstrap_servers != f"{ports.HOST}:{taken}"
            assert seen(kafka.bootstrap_servers) == {1}


def test_starts_without_a_network(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("STREAM_INFER_MAVEN_URL", "http://127.0.0.1:9")
    with EmbeddedKafka() as kafka:
        assert seen(kafka.bootstrap_servers) == {1}


def test_an_altered_jar_is_refused(other_cache):
    path = other_cache / "kafka-clients-4.3.1.jar"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.unlink()
    path.write_bytes(body)
    with pytest.raises(
        BrokerError, match=rf"kafka-clients-4\.3\.1\.jar was altered .* delete {other_cache} "
    ):
        EmbeddedKafka().start()


def test_a_broken_aot_cache_never_breaks_the_start(other_cache):
    cache = aot.AotCache(Jvm(jars.java(), jars.kafka_class_path(), 512))
    cache._path.write_bytes(b"no cache at all" * 10_000)
    cache._sum.write_text(aot._digest(cache._path))
    assert cache.flags()
    with EmbeddedKafka() as kafka:
        assert seen(kafka.bootstrap_servers) == {1}
    cache._path.write_bytes(b"altered")
    assert cache.flags() is None  # to be recorded anew


def test_the_command_holds_one_open_until_interrupted():
    command = [sys.executable, "-c", "from stream_infer.cli import main; main()", "kafka", "--no-registry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shell:
        try:
            said = dict(shell.stdout.readline().split() for _ in range(2))
            assert seen(said["kafka.bootstrap_servers"]) == {1}
            assert any("Ctrl-C" in line for line in shell.stderr)
            shell.send_signal(signal.SIGINT)
            assert shell.wait(60) == 0
        finally:
            shell.kill()
    assert not Path(said["data_dir"]).exists()


def create(servers, name, partitions=1):
    Cluster.open({"bootstrap.servers": servers}, timeout_s=60).create([Topic(name, partitions, -1)])


def produce(servers, name, count):
    errors = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, **QUIET})
    for number in range(count):
        producer.produce(name, str(number).encode(), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(120) == 0
    assert errors == [None] * count


def consume(servers, name, count, protocol="consumer", group="group"):
    settings = {
        "group.id": f"{group}.{name}",
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        **QUIET,
    }
    consumer = Consumer({"bootstrap.servers": servers, **settings})
    consumer.subscribe([name])
    values, deadline = [], time.monotonic() + 120
    try:
        while len(values) < count:
            assert time.monotonic() < deadline, f"{len(values)} of {count} came"
            values += [record.value() for record in consumer.consume(1000, 0.1) if not record.error()]
    finally:
        consumer.close()
    return values


def seen(servers):
    try:
        return set(AdminClient({"bootstrap.servers": servers, **QUIET}).list_topics(timeout=60).brokers)
    except KafkaException:
        return set()


def lines_of(path, start):
    return [line for line in path.read_text().splitlines() if line.startswith(start)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or as it was read
        return False


def wait_until(check, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
