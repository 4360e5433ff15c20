"""A worker's settings against the real world: brokers, topics, rights, model, registry, schema, port.

``stream-infer check`` tells all of it; ``stream-infer run`` asks for the quick part before it starts. Each
error names the setting and the cure.
"""

from __future__ import annotations

import json
import logging
import re
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream_infer.avro.compiler import compile_program
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.fields import Fields
from stream_infer.avro.registry import Registry
from stream_infer.avro.schema import SchemaText, parse
from stream_infer.build.events import fields_of
from stream_infer.build.model import artifact_of, model_of
from stream_infer.build.topics import plan_of
from stream_infer.cluster import Cluster, Topic
from stream_infer.config import Config
from stream_infer.control.server import listen
from stream_infer.delivery.settings import producer_settings, reader_settings
from stream_infer.errors import (
    BrokerError,
    ConfigError,
    ControlError,
    RegistryError,
    StreamInferError,
    WorkerError,
)
from stream_infer.models.manifest import Manifest
from stream_infer.topics import faults

__all__ = ["Check", "require", "run"]

_TIMEOUT_S = 5.0
_RIGHTS_WITHIN_S = 15.0
_ONE_COPY = ", one copy: a broker that stops can lose or double events (docs/delivery.md)"
_NO_SUCH_SUBJECT = (40401, 40402)  # the registry's codes: no such subject, no version of it


@dataclass(frozen=True)
class Check:
    """One question and its answer. ``error`` is set where it failed; a skipped one could not be asked."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    detail: str
    error: WorkerError | None = None


class _Skipped(Exception):  # noqa: N818 (it is no error)
    """The question makes no sense, or needs the answer to one that failed."""


class _World:
    """What the checks found so far: later ones build on it."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        self.path = path
        self.cluster: Cluster | None = None
        self.source: Topic | None = None
        self.manifest: Manifest | None = None


Step = Callable[[_World], str]


def run(config: Config, path: Path) -> list[Check]:
    """Ask everything, in order; an answer that never comes counts as failed after some seconds.

    ``path`` of the settings is named in the commands that cure.
    """
    world = _World(config, path)
    return [_ask(name, step, world) for name, step in _steps(_model, config)]


def require(config: Config, path: Path = Path("worker.toml")) -> None:
    """Ask what can be asked in a moment, and raise the first error.

    The worker finds out about its rights and the model's runtime by itself.
    """
    world = _World(config, path)
    for name, step in _steps(_manifest, config):
        check = _ask(name, step, world) if step is not _rights else None
        if check is not None and check.error is not None:
            raise check.error


def _steps(model: Step, config: Config) -> Iterable[tuple[str, Step]]:
    yield "brokers", _brokers
    yield "input topic", _input
    names = ["scored topic", "reject topic", "state topic"]
    if config.shadow.is_set:
        names += ["comparisons", "shadow state"]
    for index, name in enumerate(names):
        yield name, partial(_role, index=index)
    yield "rights", _rights
    yield "model", model
    yield "schema", _registry if config.registry.url and not config.input.schema_file else _files
    yield "control", _control


def _ask(name: str, step: Step, world: _World) -> Check:
    try:
        return Check(name, "ok", step(world))
    except _Skipped as why:
        return Check(name, "skipped", str(why))
    except WorkerError as error:
        found = error
    except KafkaException as failure:
        found = BrokerError(failure.args[0].str())
    return Check(name, "failed", str(found), found)


# --- Kafka


def _brokers(world: _World) -> str:
    world.cluster = None
    cluster = Cluster.open(world.config.kafka.admin_settings(), _TIMEOUT_S)
    count = cluster.broker_count()
    world.cluster = cluster
    return f"{count} at {world.config.kafka.bootstrap_servers}"


def _input(world: _World) -> str:
    name = world.config.input.topic
    source = _reached(world).topics([name]).get(name)
    if source is None:
        raise BrokerError(
            f"input.topic = {name} does not exist: correct the name, or "
            f"`stream-infer topics create -c {world.path} --input-partitions N`"
        )
    world.source = source
    return f"{name}: {source.partition_count} partitions"


def _role(world: _World, index: int) -> str:
    source = world.source
    if source is None:
        raise _Skipped("needs the input topic")
    role = plan_of(world.config).roles(source)[index]
    found = _reached(world).topics([role.name]).get(role.name)
    create = f"`stream-infer topics create -c {world.path}"
    if found is None:
        raise BrokerError(f"{role.setting} = {role.name} does not exist: {create}` makes it")
    wrong = faults(role, source, found)
    if wrong:
        raise BrokerError(f"{'; '.join(wrong)}. {create} --repair` helps, or says what does")
    single = found.replica_count == 1 and world.config.delivery.mode == "exactly_once"
    return f"{role.name}: {found.partition_count} partitions{_ONE_COPY if single else ''}"


def _rights(world: _World) -> str:
    source = world.source
    if source is None:
        raise _Skipped("needs the input topic")
    config = world.config
    client = config.kafka.client_settings()
    settings = reader_settings(client, config.kafka.consumer_settings(), config.app.id)
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
    # A fixed id: the broker remembers ids for a week, and two checks at once only fence each other.
    name = f"{config.app.id}-check"
    settings = producer_settings(
        config.kafka.client_settings(),
        config.kafka.producer_settings(),
        name,
        config.delivery.transaction_timeout_ms,
    )
    try:
        Producer(settings, logger=_quiet()).init_transactions(_RIGHTS_WITHIN_S)
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


def _reached(world: _World) -> Cluster:
    if world.cluster is None:
        raise _Skipped("needs the brokers")
    return world.cluster


# --- model and schema


def _model(world: _World) -> str:
    world.manifest = model_of(world.config.model)[0].loaded.manifest
    return _named(world.manifest)


def _manifest(world: _World) -> str:
    # Hashes and shape; the runtime is opened by the worker a moment later.
    world.manifest = artifact_of(world.config.model).manifest
    return _named(world.manifest)


def _named(manifest: Manifest) -> str:
    return f"{manifest.name} {manifest.version}: {len(manifest.features)} features, window {manifest.window}"


def _wanted(world: _World) -> Fields:
    if world.manifest is None:
        raise _Skipped("needs the model")
    return fields_of(world.config, world.manifest.features)


def _registry(world: _World) -> str:
    """Ask the registry for the newest schema of the topic, if it has one yet."""
    fields = _wanted(world)
    subject = f"{world.config.input.topic}-value"
    found = _latest(world.config, subject)
    if found is None:
        return (
            f"registry reached; no schema of {subject} yet, so the first event's is looked at when it comes"
        )
    version, schema_id = found
    registry = world.config.registry
    schemas = Registry(registry.client_settings(), registry.timeout_s)
    try:
        _takes(f"{subject} version {version}", schemas.get(schema_id), fields)
    finally:
        schemas.close()
    return f"{subject} version {version} (id {schema_id}) has every field"


def _latest(config: Config, subject: str) -> tuple[int, int] | None:
    """Version and id of a subject's newest schema; None where it has none. Raises RegistryError."""
    from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError  # noqa: PLC0415 (slow)

    registry = config.registry
    settings = {**registry.client_settings(), "timeout": registry.timeout_s, "max.retries": 1}
    try:
        with closing(SchemaRegistryClient(settings)) as client:
            newest = client.get_latest_version(subject)
    except SchemaRegistryError as error:
        if error.error_code in _NO_SUCH_SUBJECT:
            return None
        said = f"answers {error.http_status_code}: {error.error_message}; check registry.username and registry.password"
    except Exception as error:  # noqa: BLE001 (the client lets whatever its HTTP library raises through)
        said = (
            f"cannot be reached: {error or type(error).__name__}; correct the address or start the registry"
        )
    else:
        return int(newest.version or 0), int(newest.schema_id or 0)
    raise RegistryError(f"registry.url = {registry.url} {said}")


def _files(world: _World) -> str:
    """Read the schema files: at least one of them must have the fields."""
    fields = _wanted(world)
    config = world.config
    one = config.input.schema_file
    if one is not None:
        if not one.is_file():
            raise ConfigError(f"input.schema_file = {one} does not exist: give the path of an .avsc file")
        _takes(f"input.schema_file = {one}", SchemaText(one.read_text(encoding="utf-8")), fields)
        return f"{one.name} has every field"
    assert config.registry.dir is not None  # one of the three is set: Config sees to it
    return _folder(config.registry.dir, fields)


def _folder(folder: Path, fields: Fields) -> str:
    schemas = SchemaDirectory(folder)
    schemas.check()
    said = []
    for file in sorted(folder.glob("*.avsc")):
        named = re.match(r"\d+", file.name)
        try:
            _takes(file.name, schemas.get(int(named[0])) if named else SchemaText(""), fields)
        except ConfigError as error:
            said.append(str(error))
        else:
            return f"{file.name} has every field"
    why = "; ".join(said[:3]) or "it holds no .avsc file"
    raise ConfigError(f"registry.dir = {folder} has no schema with the fields of [input]: {why}")


def _takes(what: str, schema: SchemaText, fields: Fields) -> None:
    try:
        compile_program(parse(schema), fields)
    except StreamInferError as error:
        raise ConfigError(f"{what}: {error}; correct the field names in [input]") from None


# --- control server


def _control(world: _World) -> str:
    control = world.config.control
    if not control.enabled:
        raise _Skipped("control.enabled = false")
    if control.port == 0:
        return "any free port"
    try:
        listen(control.host, control.port).close()
    except ControlError:
        if _ours(f"http://{control.host}:{control.port}/status", world.config.app.id):
            return f"{control.host}:{control.port}, in use by a running worker of this app"
        raise
    return f"{control.host}:{control.port} is free"


def _ours(address: str, app: str) -> bool:
    """Whether a worker of this app answers there."""
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:  # noqa: S310 (always http)
            told = json.loads(answer.read(1_000_000))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and dict(told.get("facts") or {}).get("app") == app
