"""A real Apache Kafka (KRaft) on this machine, without Docker, an installed Java or Maven."""

import logging
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_infer.embedded.aot import AotCache
from stream_infer.embedded.exercise import exercise
from stream_infer.embedded.jars import Progress, java, kafka_class_path
from stream_infer.embedded.jvm import Jvm
from stream_infer.embedded.ports import free_ports, listening
from stream_infer.embedded.process import Supervisor, last_lines, port_taken
from stream_infer.embedded.properties import Node, server_properties
from stream_infer.embedded.storage import cluster_id, copy_formatted, data_directory, is_formatted
from stream_infer.embedded.versions import LATEST, group_protocols
from stream_infer.errors import BrokerError, ConfigError

__all__ = ["EmbeddedKafka"]

_READY_S = 120.0
_RESTART_S = 10.0
_KEEP_S = 10.0
_RECORD_S = 90.0
_LOOK_S = 0.02
_LOG_LINES = 15
_PORT_ATTEMPTS = 3
_HEAP_MIB = {1: 512, 3: 384}

log = logging.getLogger(__name__)


class _DiedError(BrokerError):
    """A broker ended while it was being waited for."""


class EmbeddedKafka:
    """A cluster of one or three brokers on 127.0.0.1, each a controller as well. A context manager.

    ``data_dir`` is kept, and a cluster found in it is opened again; without one a temporary directory is
    used and removed by :meth:`stop`, or by the supervisor when this process dies. ``settings`` are broker
    settings that replace the defaults of ``server_properties``. ``version`` is one of ``versions.VERSIONS``.
    ``advertised`` (node -> host:port) is where clients reach a node through something in between, such as a
    proxy, that forwards to the node's :attr:`inner_addresses`; who starts there never sees the direct
    addresses. ``progress`` hears of the first download. ``recording_flags`` are JVM flags that record an AOT
    cache at the end, in place of those that use it.

    Nodes are numbered from 1. Errors: ConfigError (the extra ``embedded`` is missing, a wrong argument),
    BrokerError (a jar is altered, a broker does not start; with its last log lines).
    """

    def __init__(
        self,
        nodes: int = 1,
        data_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        version: str = LATEST,
        advertised: Mapping[int, str] | None = None,
        progress: Progress = log.info,
        recording_flags: Sequence[str] = (),
    ) -> None:
        self._node_count = nodes
        self._given_dir = data_dir
        self._settings = dict(settings or {})
        self._version = version
        self._advertised = dict(advertised or {})
        self._progress = progress
        self._recording_flags = tuple(recording_flags)
        self._nodes: dict[int, Node] = {}
        self._data_dir: Path | None = None
        self._jvm: Jvm | None = None
        self._flags: tuple[str, ...] = ()
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """Of Kafka."""
        return self._version

    @property
    def bootstrap_servers(self) -> str:
        """The addresses for clients, e.g. ``127.0.0.1:19092``."""
        self._require_started()
        return ",".join(node.address for node in self._nodes.values())

    @property
    def inner_addresses(self) -> dict[int, str]:
        """Node -> where to forward what arrives at its advertised address; of the nodes that have one."""
        self._require_started()
        return {number: node.inner_address for number, node in self._nodes.items() if node.advertised}

    @property
    def data_dir(self) -> Path:
        """Where the data (``node-N/``) and the broker logs (``logs/node-N.log``) are."""
        self._require_started()
        assert self._data_dir is not None
        return self._data_dir

    @property
    def pids(self) -> dict[int, int]:
        """Node -> pid of its Java process, of those that run (also paused ones)."""
        running = self._require_started().pids
        return {number: running[node.name] for number, node in self._nodes.items() if node.name in running}

    def last_log_lines(self, node: int) -> str:
        """The end of the broker's log."""
        return last_lines(self._log(self._nodes[node]), _LOG_LINES)

    def prepare(self) -> tuple[str, ...]:
        """Fetch and verify what :meth:`start` needs, record the AOT cache. Returns the JVM flags to start with."""
        if self._node_count not in _HEAP_MIB:
            message = f"nodes = {self._node_count}: an embedded Kafka has 1 or 3"
            raise ConfigError(message)
        protocols = group_protocols(self._version)
        class_path = kafka_class_path(self._progress, self._version)
        self._jvm = Jvm(java(), class_path, _HEAP_MIB[self._node_count])
        if self._recording_flags:
            return self._recording_flags
        aot = AotCache(self._jvm)
        if (flags := aot.flags()) is None:
            aot.record(lambda flags: _record(self._version, protocols, flags), self._progress)
            flags = aot.flags()
        return tuple(flags or ())

    def start(self) -> None:
        """Start the cluster; returns when a client sees every broker."""
        if self._supervisor is not None:
            return
        flags = self.prepare()
        try:
            self._open(flags)
        except _DiedError:
            if not flags or self._recording_flags:
                raise
            self._open(())  # raises again unless the cache was to blame
            assert self._jvm is not None
            AotCache(self._jvm).give_up()
            log.warning("brokers start only without their AOT cache; it is given up", exc_info=True)

    def stop(self) -> None:
        """End every broker; a temporary data directory is gone afterwards. May be called twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.close()
        self._nodes = {}
        self._data_dir = None

    def kill(self, node: int) -> None:
        """End the broker as ``kill -9`` does; returns when it is gone."""
        self._send(node, signal.SIGKILL)
        self._require_started().wait(self._nodes[node].name, _READY_S)

    def pause(self, node: int) -> None:
        """Freeze the broker: its connections stay open and nothing answers."""
        self._send(node, signal.SIGSTOP)

    def resume(self, node: int) -> None:
        """Let a paused broker go on."""
        self._send(node, signal.SIGCONT)

    def restart(self, node: int) -> None:
        """Start the broker again on its port and data, ended in good order first if it runs.

        Returns when a client that asks this broker sees it in the cluster.
        """
        supervisor = self._require_started()
        self._send(node, signal.SIGTERM)
        self._send(node, signal.SIGCONT)
        one = self._nodes[node]
        if supervisor.wait(one.name, _RESTART_S) is None:
            self.kill(node)
        self._launch(one)
        self._wait_ready([one], {node})

    def _open(self, flags: Sequence[str]) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._open_once(flags)
            except BaseException:
                taken = self._data_dir is not None and any(
                    map(port_taken, map(self._log, self._nodes.values()))
                )
                self.stop()
                if attempt < _PORT_ATTEMPTS and taken:
                    continue  # somebody took a port between the look and the bind
                raise
            return

    def _open_once(self, flags: Sequence[str]) -> None:
        self._flags = tuple(flags)
        numbers = range(1, self._node_count + 1)
        ports = iter(free_ports(3 * self._node_count))
        self._nodes = {
            n: Node(n, next(ports), next(ports), next(ports), self._advertised.get(n, "")) for n in numbers
        }
        self._data_dir = data_directory(self._given_dir, self._node_count)
        temporary = None if self._given_dir else self._data_dir
        self._supervisor = Supervisor(grace_s=self._grace_s(), remove=temporary)
        self._supervisor.open()
        (self._data_dir / "logs").mkdir(parents=True, exist_ok=True)
        self._write_properties()
        self._format()
        for node in self._nodes.values():
            self._launch(node)
        self._wait_ready(list(self._nodes.values()), set(numbers))

    def _write_properties(self) -> None:
        cluster = list(self._nodes.values())
        for node in cluster:
            data = self._data(node)
            data.parent.mkdir(exist_ok=True)
            text = server_properties(node, cluster, str(data), self._settings)
            data.with_name("server.properties").write_text(text, "utf-8")

    def _format(self) -> None:
        """Format the storage of the nodes that have none yet."""
        fresh = [node for node in self._nodes.values() if not is_formatted(self._data(node))]
        if not fresh:
            return
        assert self._jvm is not None
        first, *others = fresh
        identity = cluster_id(map(self._data, self._nodes.values()))
        arguments = ("format", "-t", identity, "-c", self._data(first).with_name("server.properties"))
        flags = ("-XX:TieredStopAtLevel=1", *(() if self._recording_flags else self._flags))
        command = self._jvm.command("kafka.tools.StorageTool", *arguments, extra=flags)
        supervisor = self._require_started()
        supervisor.start("format", command, self._log(first))
        if supervisor.wait("format", _READY_S) != 0:
            self._died(first, "cannot format its storage")
        for node in others:
            copy_formatted(self._data(first), self._data(node), node.number)

    def _launch(self, node: Node) -> None:
        assert self._jvm is not None
        properties = self._data(node).with_name("server.properties")
        # One broker is to be fast over minutes. Three that compile at full effort starve each other of a small
        # machine's cores while they start; their users want a cluster more than throughput.
        flags = self._flags if self._node_count == 1 else (*self._flags, "-XX:TieredStopAtLevel=1")
        command = self._jvm.command("kafka.Kafka", properties, extra=flags)
        self._require_started().start(node.name, command, self._log(node))

    def _wait_ready(self, nodes: Sequence[Node], expected: set[int]) -> None:
        """Return when clients that begin at ``nodes`` see all brokers ``expected``."""
        supervisor = self._require_started()
        deadline = time.monotonic() + _READY_S

        def check() -> None:
            for node in nodes:
                if (status := supervisor.status(node.name)) is not None:
                    self._died(node, f"ended with status {status} while starting")
                if time.monotonic() > deadline:
                    self._died(node, f"was not ready within {_READY_S:.0f} s")
            time.sleep(_LOOK_S)

        while not all(listening(node.broker_port) for node in nodes):
            check()
        servers = ",".join(node.address for node in nodes)
        # Silent: refused connections are what a start looks like.
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": _ignore, "reconnect.backoff.ms": 20}
        admin = AdminClient({"bootstrap.servers": servers, **quiet})
        while not expected <= _seen(admin):
            check()

    def _died(self, node: Node, what: str) -> None:
        cure = "free memory or another data directory may help; the last lines of its log say why"
        message = f"broker {node.number} {what} ({cure}):\n{self.last_log_lines(node.number)}"
        raise _DiedError(message)

    def _grace_s(self) -> float:
        """What the brokers get to shut down in: nothing where their data goes with them."""
        if self._recording_flags:
            return _RECORD_S
        return _KEEP_S if self._given_dir else 0.0

    def _data(self, node: Node) -> Path:
        return self.data_dir / node.name / "data"

    def _log(self, node: Node) -> Path:
        assert self._data_dir is not None
        return self._data_dir / "logs" / f"{node.name}.log"

    def _send(self, node: int, number: signal.Signals) -> None:
        supervisor = self._require_started()
        if node not in self._nodes:
            message = f"there is no node {node}: nodes are 1 to {self._node_count}"
            raise ConfigError(message)
        supervisor.send(self._nodes[node].name, number)

    def _require_started(self) -> Supervisor:
        if self._supervisor is None:
            raise BrokerError("the embedded Kafka is not running: call start() first")
        return self._supervisor


def _seen(admin: AdminClient) -> set[int]:
    try:
        return set(admin.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return set()


def _ignore(_: object) -> None:
    pass


def _record(version: str, protocols: Sequence[str], flags: Sequence[str]) -> None:
    """Run one broker with ``flags`` through what clients ask of it first."""
    with EmbeddedKafka(version=version, recording_flags=flags) as kafka:
        exercise(kafka.bootstrap_servers, protocols)
