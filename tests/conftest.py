"""The broker, the registry and the topics of the tests: real ones, started once per run."""

import os
import signal
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, settings

from stream_infer.cluster import Cluster, Topic
from stream_infer.embedded import EmbeddedKafka, EmbeddedRegistry, versions
from stream_infer.embedded.alone import alone
from stream_infer.embedded.ports import HOST, free_ports, listening
from stream_infer.embedded.versions import LATEST
from stream_infer.errors import StreamInferError
from tests.program import WARM_SETTINGS, run

# No test of a property is a test of speed. In CI the same examples come each time: a new one is found at a desk.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "desk"))

# A shell lets what it runs in the background ignore Ctrl-C, and children inherit that; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CONTAINER_IMAGE = "apache/kafka:4.3.1"
CONTAINER_READY_S = 120.0
MAKING_S = 500.0
"""How long a test process waits for what another one makes; then it makes the same beside it."""
TopicFactory = Callable[..., str]

IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
_WEIGHTS = {"kafka": 5.0, "slow": 15.0}
"""About how many seconds a test with this mark takes; the others take next to none."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the longest files out first, so that all test processes end at about the same time."""
    if not IN_PARALLEL:
        return
    longest: dict[Path, float] = defaultdict(float)
    for item in items:
        longest[item.path] += sum(s for name, s in _WEIGHTS.items() if item.get_closest_marker(name))
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all its test processes have in common: who makes something in it holds ``alone``."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if IN_PARALLEL else own


@pytest.fixture(scope="session")
def compiled(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The worker's kernels, compiled by the first of the test processes while the others wait, not by each."""
    done = shared / "compiled"
    with alone(done, MAKING_S):
        if not done.exists():
            from tests.runtimes import drawn_artifact  # noqa: PLC0415 - slow, and few tests want it

            folder = tmp_path_factory.mktemp("warm")
            drawn_artifact().save(folder / "model")
            (folder / "worker.toml").write_text(WARM_SETTINGS.format(model=folder / "model"))
            run(["warm", "-c", folder / "worker.toml"])
            done.touch()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of the broker that STREAM_INFER_TEST_KAFKA names.

    embedded (default), embedded:VERSION, container, or host:port.
    """
    choice, _, version = _choice().partition(":")
    if choice == "container":
        with container_kafka() as servers:
            yield servers
        return
    if choice != "embedded":
        yield _choice()
        return
    broker = EmbeddedKafka(version=version or LATEST, progress=print)
    try:
        broker.start()
    except StreamInferError as error:
        if not docker_answers():
            raise
        print(f"no embedded Kafka, a container instead: {error}")
        with container_kafka() as servers:
            yield servers
        return
    try:
        yield broker.bootstrap_servers
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def group_protocols() -> tuple[str, ...]:
    """The group protocols that the broker of the tests speaks; "consumer" comes first where it does."""
    choice, _, version = _choice().partition(":")
    return versions.group_protocols(version if choice == "embedded" and version else LATEST)


def _choice() -> str:
    return os.environ.get("STREAM_INFER_TEST_KAFKA", "embedded")


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """URL of a Confluent-compatible schema registry."""
    with EmbeddedRegistry(progress=print) as started:
        yield started.url


@pytest.fixture
def topic(kafka: str) -> Iterator[TopicFactory]:
    """topic("name", partitions=1, config=None) creates a topic with a unique name and returns that name.

    The broker knows it by then.
    """
    cluster = Cluster.open({"bootstrap.servers": kafka}, timeout_s=60)
    created: list[str] = []

    def create(name: str = "topic", partitions: int = 1, config: dict[str, str] | None = None) -> str:
        unique = f"{name}.{uuid.uuid4().hex[:8]}"
        cluster.create([Topic(unique, partitions, -1, config or {})])
        created.append(unique)
        return unique

    yield create
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.delete_topics(created).values() if created else ():
        future.exception(120)  # a test may have deleted its topic, or ended the broker


@contextmanager
def container_kafka() -> Iterator[str]:
    """The official image in the Docker engine of this machine."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - slow, and rarely needed

    (port,) = free_ports(1)
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(CONTAINER_IMAGE).with_bind_ports(port, port)
    for name, value in settings.items():
        container = container.with_env(name, value)
    with container:
        deadline = time.monotonic() + CONTAINER_READY_S
        while not listening(port) or not brokers_seen(f"{HOST}:{port}"):
            assert time.monotonic() < deadline, f"no broker in the container: {container.get_logs()}"
            time.sleep(0.2)
        yield f"{HOST}:{port}"


def brokers_seen(servers: str) -> int:
    try:
        return len(AdminClient({"bootstrap.servers": servers}).list_topics(timeout=2).brokers)
    except KafkaException:
        return 0


def docker_answers() -> bool:
    """Whether a Docker engine answers here."""
    try:
        return (
            subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
