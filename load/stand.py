"""What a measurement stands on: a broker, models, topics, and the programs under test in their own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from load.events import USUAL, training_file
from load.processes import usage
from load.run import Run
from load.traffic import SCHEMA_ID, Traffic
from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded.ports import free_ports

__all__ = [
    "PARTITIONS",
    "ModelKind",
    "Run",
    "Stand",
    "committed_count",
    "end_count",
    "group",
    "partitions_of",
]

PARTITIONS = 4
ModelKind = Literal["autoencoder", "forecast"]

_PROGRAM = Path(sys.executable).parent / "stream-infer"
_FILL_AT_ONCE = 20_000
_MEMBERS_S = 120.0
_HIDDEN_S = 600


class Stand:
    """A context manager; everything it started ends with it.

    ``data``: rows to train on, instead of the bench's own. ``nodes``: brokers, one or three. ``kind``: the model that
    every program scores with; the autoencoder, or where there is data what ``stream-infer train`` makes of it.
    ``servers``: brokers that are there already. ``shadow_cores``: the only ones that shadows may use; empty for all.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        data: Path | None = None,
        nodes: int = 1,
        kind: ModelKind = "autoencoder",
        servers: str = "",
    ) -> None:
        self.nodes = nodes
        self.kind: ModelKind = "forecast" if data else kind
        self._say = say
        self._data = data
        self._closing = ExitStack()
        self._kafka = EmbeddedKafka(nodes, progress=lambda text: say(str(text)))
        self._traffic: dict[str, Traffic] = {}
        self._models: dict[tuple[str, ...], Path] = {}
        self.folder = Path()
        self.servers = servers
        self._own_kafka = not servers
        self._shadowed: set[str] = set()
        self.shadow_cores: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self.folder = Path(
            self._closing.enter_context(tempfile.TemporaryDirectory(prefix="stream-infer-load-"))
        )
        if self._own_kafka:
            self._say("starting Kafka")
            self._closing.enter_context(self._kafka)
            self.servers = self._kafka.bootstrap_servers
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def model(self) -> Path:
        """The model for the usual traffic."""
        return self.model_of(USUAL)

    def model_of(self, traffic: Traffic) -> Path:
        """The model that every program under test scores this traffic with; made when it is first asked for."""
        if traffic.features not in self._models:
            self._models[traffic.features] = self._make_model(traffic)
        return self._models[traffic.features]

    def traffic(self, topic: str) -> Traffic:
        """What a topic was made for."""
        return self._traffic[topic]

    def topic(
        self, name: str, partitions: int = PARTITIONS, traffic: Traffic = USUAL, source: str | None = None
    ) -> str:
        """Make the four topics of a new deployment; returns the input topic. The worker's group is ``group``'s.

        ``source``: a model and an alias to follow, in the place of the model.
        """
        topic = f"{name}-{len(self._traffic) + 1}.events"
        self._traffic[topic] = traffic
        self._config(topic).write_text(self._toml(topic, source))
        self.call("topics", "create", "-c", self._config(topic), "--input-partitions", str(partitions))
        self._stamp(f"{topic}.scored")
        return topic

    def kill_broker(self, node: int) -> None:
        """End a broker (from 1) as kill -9 does."""
        self._kafka.kill(node)

    def restart_broker(self, node: int) -> None:
        """Start it again."""
        self._kafka.restart(node)

    def broker_cpu_s(self) -> float | None:
        """User and system seconds of the brokers so far; None where they are not this stand's own."""
        if not self._own_kafka:
            return None
        return sum(usage(pid).cpu_s for pid in self._kafka.pids.values())

    def end_count(self, topic: str) -> int:
        """Events of an input topic."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "ends"})
        try:
            return end_count(consumer, topic, partitions_of(consumer, topic))
        finally:
            consumer.close()

    def fill(self, topic: str, events: int, start: int = 0) -> None:
        """Put events into a topic; the partition is the entity's number."""
        self._produce(Producer(self._filler()), topic, events, start)

    def fill_hidden(self, topic: str, events: int) -> Callable[[], None]:
        """Put events into a topic that nobody sees, all of them at once, until what is returned is called.

        One partition's records are followed by the marker of the transaction: offsets end one later.
        """
        producer = Producer(
            {
                **self._filler(),
                "transactional.id": f"filler-{topic}",
                "transaction.timeout.ms": _HIDDEN_S * 1000,
            }
        )
        producer.init_transactions()
        producer.begin_transaction()
        self._produce(producer, topic, events, 0)
        return lambda: producer.commit_transaction(60)

    def worker(self, topic: str, cores: Sequence[int] = (), **environment: str) -> Run:
        """Start the worker on a topic; settings as SECTION__KEY=value."""
        prefixed = {f"STREAM_INFER__{name}": value for name, value in environment.items()}
        command = [_PROGRAM, "run", "-c", self._config(topic)]
        return self._started(Run(self.folder, f"worker-{topic}", command, prefixed, cores))

    def candidate(self) -> Path:
        """Train another model on the same rows, for shadows."""
        data = self._data or self._training_rows()
        self.call("train", "--data", data, "--out", self.folder / "candidate", "--threshold-quantile", "0.98")
        return self.folder / "candidate"

    def shadow(
        self, topic: str, candidate: Path, *options: str, before: Sequence[str] = (), **environment: str
    ) -> Run:
        """Start a shadow of a topic's worker; settings as SECTION__KEY=value. ``before``: a command to start it by."""
        own = {"SHADOW__MODEL": str(candidate), "SHADOW__PORT": "0", **environment}
        prefixed = {f"STREAM_INFER__{name}": value for name, value in own.items()}
        if topic not in self._shadowed:
            self.call("topics", "create", "-c", self._config(topic), **prefixed)
            self._shadowed.add(topic)
        command = [*before, _PROGRAM, "shadow", "-c", self._config(topic), *options]
        return self._started(Run(self.folder, f"shadow-{topic}", command, prefixed, self.shadow_cores))

    def aside(self, name: str, command: Sequence[Any]) -> Run:
        """Start a program where shadows run."""
        return self._started(Run(self.folder, name, command, {}, self.shadow_cores))

    def compare(self, topic: str, **environment: str) -> tuple[Run, str]:
        """Start the analysts' app of a topic; returns the address of its pages, too."""
        port = free_ports(1)[0]
        own = {"COMPARE__PORT": str(port), "COMPARE__TOPIC": f"{topic}.compared", **environment}
        prefixed = {f"STREAM_INFER__{name}": value for name, value in own.items()}
        command = [_PROGRAM, "compare", "-c", self._config(topic)]
        run = self._started(Run(self.folder, f"compare-{topic}", command, prefixed))
        return run, f"http://127.0.0.1:{port}"

    def report(self, topic: str, **environment: str) -> dict[str, Any]:
        """The numbers of `stream-infer compare report` of a topic."""
        own = {"COMPARE__TOPIC": f"{topic}.compared", **environment}
        prefixed = {f"STREAM_INFER__{name}": value for name, value in own.items()}
        page = self.folder / f"{topic}.html"
        self.call("compare", "report", "-c", self._config(topic), "--from-topic", "-o", page, **prefixed)
        return dict(json.loads(page.with_suffix(".json").read_text("utf-8")))

    def rival(self, program: str, command: Sequence[Any], topic: str) -> Run:
        """Start a rival on a topic: a command that takes servers, topic, group, model and the file of the schema."""
        traffic = self._traffic[topic]
        arguments = [self.servers, topic, group(topic), self.model_of(traffic), self._schema(traffic)]
        return self._started(Run(self.folder, f"{program}-{topic}", [*command, *arguments], {}))

    def wait_members(self, topic: str, count: int = 1) -> None:
        """Wait until a topic's group has so many members, and each has partitions."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        deadline = time.monotonic() + _MEMBERS_S
        while True:
            try:
                found = admin.describe_consumer_groups([group(topic)])[group(topic)].result(10)
                shares = [len(member.assignment.topic_partitions) for member in found.members]
                stable = found.state is ConsumerGroupState.STABLE
            except KafkaException:
                shares, stable = [], False  # there is no such group yet
            # Some assignors write shares that only they can read.
            if sum(share > 0 for share in shares) == count or (stable and shares == [0] * count):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic}: {shares} partitions, {count} members were wanted")
            time.sleep(0.2)

    def call(self, *arguments: Any, **environment: str) -> None:
        """Run a command of stream-infer. Raises RuntimeError with what it said."""
        done = subprocess.run(
            [_PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        if done.returncode:
            raise RuntimeError(f"stream-infer {arguments[0]} failed:\n{done.stderr[-3000:]}")

    def _stamp(self, topic: str) -> None:
        """Let the broker say when a record was written: some programs pass the input's time on."""
        resource = ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(
                    "message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET
                )
            ],
        )
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.incremental_alter_configs([resource])[resource].result(30)

    def _started(self, run: Run) -> Run:
        self._closing.callback(run.stop)
        return run

    def _filler(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}

    def _produce(self, producer: Producer, topic: str, events: int, start: int) -> None:
        traffic = self._traffic[topic]
        for at in range(start, start + events, _FILL_AT_ONCE):
            count = min(_FILL_AT_ONCE, start + events - at)
            partitions = traffic.partitions(at, count, PARTITIONS)
            for key, value, partition in zip(*traffic.pairs(at, count), partitions, strict=True):
                producer.produce(topic, value, key, partition)
            producer.flush(60)

    def _make_model(self, traffic: Traffic) -> Path:
        folder = self.folder / f"model-{traffic.form}-{traffic.width}"
        if self.kind == "forecast":
            self._say("training the model")
            self.call(
                "train", "--data", self._data or self._training_rows(), "--out", folder, "--name", "bench"
            )
        else:
            from load.autoencoder import autoencoder  # noqa: PLC0415 - half a second

            self._say("calibrating the model")
            autoencoder(traffic).save(folder)
        return folder

    def _training_rows(self) -> Path:
        path = self.folder / "rows.parquet"
        return path if path.exists() else training_file(path)

    def _schema(self, traffic: Traffic) -> Path:
        folder = self.folder / f"schemas-{traffic.form}-{traffic.width}"
        folder.mkdir(exist_ok=True)
        file = folder / f"{SCHEMA_ID}-event.avsc"
        file.write_text(traffic.schema)
        return file

    def _config(self, topic: str) -> Path:
        return self.folder / f"{topic}.toml"

    def _toml(self, topic: str, source: str | None) -> str:
        traffic = self._traffic[topic]
        sections = {
            "app": {"id": group(topic)},
            "kafka": {"bootstrap_servers": self.servers},
            "registry": {"dir": str(self._schema(traffic).parent)},
            "input": {
                "topic": topic,
                "entity": "entity_id",
                "time": "ts",
                "event_id": "event_id",
                "features": traffic.setting,
            },
            "model": {"path": str(self.model_of(traffic))} if source is None else {"source": source},
            "control": {"port": 0},
        }
        lines: list[str] = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        return "\n".join(lines) + "\n"


def group(topic: str) -> str:
    """The consumer group of a deployment."""
    return topic.removesuffix(".events")


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """The partitions of a topic."""
    return sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)


def end_count(consumer: Consumer, topic: str, partitions: Iterable[int] = range(PARTITIONS)) -> int:
    """Records of a topic, transaction markers included."""
    return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in partitions)


def committed_count(consumer: Consumer, topic: str) -> int:
    """Events that the consumer's group has committed; 0 while that is in doubt."""
    try:
        found = consumer.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], 5)
    except KafkaException:
        return 0
    return sum(max(0, tp.offset) for tp in found)
