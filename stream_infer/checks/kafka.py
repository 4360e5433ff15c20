"""Brokers, topics and rights."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition, libversion

from stream_infer.build.producer import producer_of
from stream_infer.build.topics import plan_of
from stream_infer.checks.world import Skipped, World
from stream_infer.cluster import Cluster
from stream_infer.config import Config
from stream_infer.delivery.settings import consumer_settings, reader_settings
from stream_infer.errors import BrokerError, ConfigError
from stream_infer.topics import faults

__all__ = ["brokers", "client", "input_topic", "rights", "role"]

_TIMEOUT_S = 10.0
_RIGHTS_WITHIN_S = 15.0
_SLOT = "check"  # always the same: the broker remembers ids for a week, and two checks at once only fence each other
_ONE_COPY = ", one copy: a broker that stops can lose or double events (docs/delivery.md)"


def client(world: World) -> str:
    """Whether Kafka's client takes the settings: it looks at them before it connects."""
    config = world.config
    kafka, nowhere = config.kafka, {"bootstrap.servers": ""}
    consumer = consumer_settings(
        kafka.client_settings() | nowhere, kafka.consumer_settings(), config.app.id, kafka.group_protocol
    )
    producer = producer_of(config, _SLOT) | nowhere
    _take("kafka.consumer", lambda: Consumer(consumer, logger=_quiet()).close())
    _take("kafka.producer", lambda: Producer(producer, logger=_quiet()))
    return f"librdkafka {libversion()[0]}"


def _take(section: str, make: Callable[[], object]) -> None:
    try:
        make()
    except KafkaException as failure:
        raise ConfigError(
            f"[kafka] or [{section}] has what Kafka's client does not take: {failure.args[0].str().strip()}; correct "
            "the setting that it names, or remove it"
        ) from None


def brokers(world: World) -> str:
    """Whether they answer."""
    world.cluster = None
    cluster = Cluster.open(world.config.kafka.admin_settings(), _TIMEOUT_S)
    count = cluster.broker_count()
    world.cluster = cluster
    return f"{count} at {world.config.kafka.bootstrap_servers}"


def input_topic(world: World) -> str:
    """Whether it exists."""
    name = world.config.input.topic
    source = _reached(world).topics([name]).get(name)
    if source is None:
        raise BrokerError(
            f"input.topic = {name} does not exist: correct the name, or "
            f"`stream-infer topics create -c {world.path} --input-partitions N`"
        )
    world.source = source
    return f"{name}: {source.partition_count} partitions"


def role(world: World, index: int) -> str:
    """Whether the topic that the worker writes is there, and as it has to be. ``index``: of its roles."""
    source = world.source
    if source is None:
        raise Skipped("needs the input topic")
    wanted = plan_of(world.config).roles(source)[index]
    found = _reached(world).topics([wanted.name]).get(wanted.name)
    create = f"`stream-infer topics create -c {world.path}"
    if found is None:
        raise BrokerError(f"{wanted.setting} = {wanted.name} does not exist: {create}` makes it")
    wrong = faults(wanted, source, found)
    if wrong:
        raise BrokerError(f"{'; '.join(wrong)}. {create} --repair` helps, or says what does")
    single = found.replica_count == 1 and world.config.delivery.mode == "exactly_once"
    return f"{wanted.name}: {found.partition_count} partitions{_ONE_COPY if single else ''}"


def rights(world: World) -> str:
    """Whether the group and, where they are used, transactions are allowed."""
    source = world.source
    if source is None:
        raise Skipped("needs the input topic")
    config = world.config
    settings = reader_settings(
        config.kafka.client_settings(), config.kafka.consumer_settings(), config.app.id
    )
    consumer = Consumer(settings, logger=_quiet())
    try:
        partitions = [TopicPartition(source.name, index) for index in range(source.partition_count)]
        consumer.committed(partitions, timeout=_RIGHTS_WITHIN_S)
    except KafkaException as failure:
        raise BrokerError(
            f"offsets of group {config.app.id} cannot be read: {failure.args[0].str()}; allow Read on the group"
        ) from None
    finally:
        consumer.close()
    if config.delivery.mode != "exactly_once":
        return f"group {config.app.id}"
    return f"group {config.app.id}, {_transactions(config)}"


def _transactions(config: Config) -> str:
    try:
        Producer(producer_of(config, _SLOT), logger=_quiet()).init_transactions(_RIGHTS_WITHIN_S)
    except KafkaException as failure:
        raise BrokerError(
            f"transactions of {config.app.id}-… cannot be begun: {failure.args[0].str()}; allow Write and Describe on "
            f"transactional ids with the prefix {config.app.id}-, or set delivery.mode = at_least_once"
        ) from None
    return f"transactions of {config.app.id}-…"


def _quiet() -> logging.Logger:
    """Keep the client's own lines out of the answers."""
    logger = logging.getLogger("stream_infer.checks.client")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _reached(world: World) -> Cluster:
    if world.cluster is None:
        raise Skipped("needs the brokers")
    return world.cluster
