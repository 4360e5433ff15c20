"""Three brokers, and who leads what: for faults that choose their victim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded.versions import LATEST
from stream_infer.errors import StreamInferError
from tests.chaos.broker_logs import BrokerLogs
from tests.chaos.proxy import Network

__all__ = ["NODES", "Cluster", "java_hash"]

NODES = (1, 2, 3)
_OFFSETS = "__consumer_offsets"
_TRANSACTIONS = "__transaction_state"
_INTERNAL_PARTITIONS = 5
_SETTINGS = {
    "offsets.topic.num.partitions": str(_INTERNAL_PARTITIONS),
    "transaction.state.log.num.partitions": str(_INTERNAL_PARTITIONS),
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
}


class Cluster:
    """A context manager of the cluster under test. Not for several threads.

    ``version`` of Kafka: one of ``stream_infer.embedded.versions``. ``settings`` are broker settings. A client that
    starts at ``network.servers`` stays behind the proxies of ``network``; one that starts at ``servers`` never is.
    """

    def __init__(
        self,
        say: Callable[[str], None] = print,
        version: str = LATEST,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.network = Network(len(NODES))
        self.kafka = EmbeddedKafka(
            len(NODES),
            version=version,
            settings=_SETTINGS | (settings or {}),
            advertised=self.network.advertised,
            progress=say,
        )
        self.down: set[int] = set()
        self.paused: set[int] = set()
        self._admin: Any = None
        self._starting: threading.Thread | None = None
        self._errors: list[StreamInferError] = []

    def __enter__(self) -> Self:
        self.kafka.start()
        self.network.open(self.kafka.inner_addresses)
        return self

    def __exit__(self, *_: object) -> None:
        self.network.close()
        self.kafka.stop()

    @property
    def servers(self) -> str:
        """Bootstrap servers, all three."""
        return self.kafka.bootstrap_servers

    @property
    def version(self) -> str:
        """Of Kafka."""
        return self.kafka.version

    def logs(self) -> BrokerLogs:
        """What the brokers log from now on."""
        return BrokerLogs(self.kafka.data_dir / "logs")

    def kill(self, node: int) -> None:
        """End a broker as kill -9 does."""
        self.kafka.kill(node)
        self.down.add(node)
        self.paused.discard(node)

    def pause(self, node: int) -> None:
        """Freeze a broker."""
        self.kafka.pause(node)
        self.paused.add(node)

    def resume(self, node: int) -> None:
        """Let a frozen broker go on."""
        self.kafka.resume(node)
        self.paused.discard(node)

    def restart(self, node: int) -> None:
        """Start a broker again, ended in good order first if it runs; it is ``impaired`` until it is back."""
        self.down.add(node)
        self.paused.discard(node)
        self._background(lambda: self.kafka.restart(node), {node})

    def start_all(self) -> None:
        """Start every broker that is down, together: alone none of them is a quorum."""
        nodes = set(self.down)
        embedded: Any = self.kafka

        def start() -> None:
            ended = [embedded._nodes[number] for number in nodes]
            for node in ended:
                embedded._launch(node)
            embedded._wait_ready(ended, nodes)

        self._background(start, nodes)

    @property
    def impaired(self) -> bool:
        """Whether a broker is down, frozen or not back yet."""
        return bool(self.down or self.paused)

    def heal(self) -> None:
        """Every broker runs; raises what kept one from it."""
        self.network.calm()
        for node in sorted(self.paused):
            self.resume(node)
        self._join()
        if self.down:
            self.start_all()
            self._join()

    def _background(self, start: Callable[[], None], nodes: set[int]) -> None:
        def run() -> None:
            try:
                start()
                self.down -= nodes
            except StreamInferError as error:
                self._errors.append(error)

        self._join()
        self._starting = threading.Thread(target=run, name="brokers", daemon=True)
        self._starting.start()

    def _join(self) -> None:
        if self._starting is not None:
            self._starting.join()
        if self._errors:
            raise self._errors.pop()

    def leader_of(self, topic: str, partition: int) -> int | None:
        """The node that leads a partition; None while there is none, or no answer."""
        try:
            found = self._client().list_topics(topic, timeout=5).topics[topic].partitions.get(partition)
        except KafkaException:
            return None
        return found.leader if found is not None and found.leader in NODES else None

    def group_coordinator(self, group: str) -> int | None:
        """The node that holds a consumer group."""
        return self.leader_of(_OFFSETS, java_hash(group) % _INTERNAL_PARTITIONS)

    def transaction_coordinator(self, transactional_id: str) -> int | None:
        """The node that holds a transactional id."""
        return self.leader_of(_TRANSACTIONS, java_hash(transactional_id) % _INTERNAL_PARTITIONS)

    def wait_whole(self, topics: list[str], timeout_s: float = 120.0) -> None:
        """Wait until every partition of these topics and of Kafka's own has a leader and all its copies in step."""
        deadline = time.monotonic() + timeout_s
        while not self._whole(topics):
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions of {topics} are not whole after {timeout_s:g} s")
            time.sleep(0.2)

    def _whole(self, topics: list[str]) -> bool:
        try:
            listed = self._client().list_topics(timeout=5).topics
        except KafkaException:
            return False
        wanted = {*topics, *({_OFFSETS, _TRANSACTIONS} & listed.keys())}
        parts = (
            [p for topic in wanted for p in listed[topic].partitions.values()]
            if listed.keys() >= wanted
            else []
        )
        return bool(parts) and all(p.leader in NODES and len(p.isrs) == len(p.replicas) for p in parts)

    def _client(self) -> Any:
        if self._admin is None:
            quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
            self._admin = AdminClient(
                {"bootstrap.servers": self.servers, "reconnect.backoff.max.ms": 500} | quiet
            )
        return self._admin


def java_hash(text: str) -> int:
    """Java's String.hashCode without its sign: how Kafka spreads groups and transactional ids."""
    value = 0
    for letter in text:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
