"""What a worker asks of a Kafka cluster besides records: is it there, which topics has it, create these."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # it has no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from stream_infer.errors import BrokerError
from stream_infer.log import escaped

__all__ = ["Cluster", "Topic"]

_LOOK_S = 0.02
_MADE_S = 60.0
"""What busy brokers may take to make topics, and to tell each other of them."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Topic:
    """A topic as it is or as it should be. ``config`` are topic settings by their Kafka names."""

    name: str
    partition_count: int
    replica_count: int
    config: Mapping[str, str] = field(default_factory=dict)


class Cluster:
    """A connection to the brokers for administration. Every question is bounded by ``timeout_s``."""

    def __init__(self, admin: AdminClient, servers: str, timeout_s: float, complaints: list[str]) -> None:
        self._admin = admin
        self._servers = servers
        self._timeout_s = timeout_s
        self._complaints = complaints

    @classmethod
    def open(cls, settings: Mapping[str, Any], timeout_s: float = 10.0) -> Self:
        """Connect with these librdkafka settings. Raises BrokerError where one of them is unknown."""
        complaints: list[str] = []
        quiet = logging.getLogger("stream_infer.cluster.client")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        hooks: dict[str, Any] = {"error_cb": lambda error: complaints.append(error.str())}
        try:
            admin = AdminClient({**settings, **hooks}, logger=quiet)
        except KafkaException as failure:
            raise BrokerError(f"Kafka's client refuses the settings: {_words(failure)}") from None
        return cls(admin, str(settings["bootstrap.servers"]), timeout_s, complaints)

    def broker_count(self) -> int:
        """Return how many brokers there are. Raises BrokerError, naming the address, where none answers."""
        described = self._admin.describe_cluster(request_timeout=self._timeout_s)
        return len(self._answer(described).nodes)

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        """Return those of the topics that exist, with their settings where those may be read."""
        wanted = list(dict.fromkeys(names))
        futures = self._admin.describe_topics(TopicCollection(wanted), request_timeout=self._timeout_s)
        found: dict[str, Any] = {}
        for name, future in futures.items():
            try:
                found[name] = self._answer(future)
            except KafkaException as failure:
                if _code(failure) != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise BrokerError(f"topic {name}: {_words(failure)}") from None
        configs = self._configs(ResourceType.TOPIC, list(found))
        return {
            name: Topic(
                name,
                len(described.partitions),
                min((len(one.replicas) for one in described.partitions), default=0),
                configs.get(name, {}),
            )
            for name, described in found.items()
        }

    def create(self, topics: Iterable[Topic]) -> dict[str, Topic]:
        """Create these topics and return them once the brokers know them, for which they have a minute.

        Raises BrokerError.
        """
        wanted = [
            NewTopic(one.name, one.partition_count, one.replica_count, config=dict(one.config))
            for one in topics
        ]
        if not wanted:
            return {}
        futures = self._admin.create_topics(wanted, operation_timeout=_MADE_S, request_timeout=_MADE_S)
        for name, future in futures.items():
            try:
                self._answer(future, _MADE_S)
            except KafkaException as failure:
                if _code(failure) != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise BrokerError(f"topic {name} cannot be created: {_words(failure)}") from None
        return self._known([one.topic for one in wanted])

    def remove(self, topics: Iterable[str], group: str) -> None:
        """Delete topics, and a group that nobody is in. Raises BrokerError where that is not allowed."""
        futures = self._admin.delete_topics(list(topics), request_timeout=self._timeout_s)
        futures |= self._admin.delete_consumer_groups([group], request_timeout=self._timeout_s)
        for name, future in futures.items():
            try:
                self._answer(future)
            except KafkaException as failure:
                if _code(failure) not in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND}:
                    raise BrokerError(f"{name} cannot be deleted: {_words(failure)}") from None

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Set topic settings, leaving all others as they are. Raises BrokerError."""
        self._set(ResourceType.TOPIC, name, config)

    def configure_group(self, name: str, config: Mapping[str, str]) -> dict[str, str]:
        """Set settings of a consumer group (KIP-848), which need not exist yet. Raises BrokerError.

        Those that the brokers are too old to know are left out; the others are returned.
        """
        known = self._configs(ResourceType.GROUP, [name]).get(name, config)
        wanted = {key: value for key, value in config.items() if key in known}
        self._set(ResourceType.GROUP, name, wanted)
        return wanted

    def _set(self, kind: ResourceType, name: str, config: Mapping[str, str]) -> None:
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in config.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        futures = self._admin.incremental_alter_configs([resource], request_timeout=self._timeout_s)
        for future in futures.values():
            try:
                self._answer(future)
            except KafkaException as failure:
                raise BrokerError(
                    f"{kind.name.lower()} {name} cannot be configured: {_words(failure)}"
                ) from None

    def _known(self, names: list[str]) -> dict[str, Topic]:
        """Metadata spreads with a delay: a client that comes too early would find no such topic."""
        deadline_s = time.monotonic() + _MADE_S
        while len(found := self.topics(names)) < len(names):
            if time.monotonic() > deadline_s:
                raise BrokerError(f"the brokers do not know {', '.join(names)} yet; try again")
            time.sleep(0.05)
        return found

    def _configs(self, kind: ResourceType, names: list[str]) -> dict[str, dict[str, str]]:
        """Settings of topics or groups; one whose settings may not be read is left out."""
        if not names:
            return {}
        resources = [ConfigResource(kind, name) for name in names]
        found = {}
        for resource, future in self._admin.describe_configs(
            resources, request_timeout=self._timeout_s
        ).items():
            try:
                entries = self._answer(future)
            except KafkaException:
                continue
            found[resource.name] = {key: entry.value for key, entry in entries.items() if entry.value}
        return found

    def _answer(self, future: Future[_Answer], within_s: float | None = None) -> _Answer:
        """Wait for an answer of the brokers; no broker at all is a BrokerError that says what was tried."""
        within_s = within_s or self._timeout_s
        deadline_s = time.monotonic() + within_s + 1
        while not future.done() and time.monotonic() < deadline_s:
            wait([future], _LOOK_S)
            self._admin.poll(0)  # for complaints: answers come by another thread
            if len(self._complaints) > 1 and any("Authentication" in one for one in self._complaints):
                # Trying again does not make a wrong password right.
                raise self._unreachable(within_s)
        if not future.done():
            raise self._unreachable(within_s)
        try:
            return future.result()
        except KafkaException as failure:
            if _code(failure) in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}:  # noqa: SLF001 (that is their name)
                raise self._unreachable(within_s) from None
            raise

    def _unreachable(self, within_s: float) -> BrokerError:
        said = [one for one in self._complaints if "brokers are down" not in one]
        why = f": {escaped(said[-1], 300)}" if said else f" within {within_s:g} s"
        return BrokerError(
            f"no broker of kafka.bootstrap_servers = {self._servers} answers{why}; "
            "correct the address or start the brokers (locally: `stream-infer kafka`)"
        )


def _code(failure: KafkaException) -> int:
    code: int = failure.args[0].code()
    return code


def _words(failure: KafkaException) -> str:
    return escaped(str(failure.args[0].str()), 300)
