"""What a measurement stands on: a broker, a trained model, topics, and the program under test in its own process."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from load.events import HOSTS, SCHEMA, SCHEMA_ID, pairs, training_file
from stream_infer.embedded import EmbeddedKafka

__all__ = ["PARTITIONS", "Run", "Stand"]

PARTITIONS = 4
_PROGRAM = Path(sys.executable).parent / "stream-infer"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FILL_AT_ONCE = 20_000
_READY_S = 300.0
_PORT = re.compile(r"control port=(\d+)\n")
_NUMBERS = itertools.count()


class Run:
    """One program on one group: the worker or a peer."""

    def __init__(self, stand: Stand, name: str, command: list[Any], environment: dict[str, str]) -> None:
        self.name = name
        self.log = stand.folder / f"{name}-{next(_NUMBERS)}.log"
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                command, stdout=sink, stderr=sink, env={**os.environ, **environment}
            )

    def cpu_s(self) -> float:
        """User and system seconds of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def peak_rss_bytes(self) -> int:
        """Largest resident size so far."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def check(self) -> None:
        """Raise when the program has ended, with the end of its log."""
        if self._process.poll():
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.text()[-3000:]}")

    def wait_ready(self) -> None:
        """Wait until the worker says that it is ready."""
        deadline = time.monotonic() + _READY_S
        while True:
            self.check()
            port = _PORT.search(self.text())
            if port is not None:
                try:
                    if (
                        httpx.get(f"http://127.0.0.1:{port[1]}/readyz", timeout=2).status_code
                        == httpx.codes.OK
                    ):
                        return
                except httpx.HTTPError:
                    pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} is not ready:\n{self.text()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.wait()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def freeze(self) -> None:
        """Stop it where it is, as a machine that hangs."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self, longest_s: float) -> None:
        """Wait until it has ended by itself, and well. Raises RuntimeError otherwise."""
        try:
            code = self._process.wait(longest_s)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.text()[-3000:]}")

    def stop(self) -> None:
        """End it in good order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def text(self) -> str:
        """Its log."""
        return self.log.read_text("utf-8", "replace")


class Stand:
    """A context manager; everything it started ends with it.

    ``data``: rows to train on, instead of the bench's own. ``nodes``: brokers, one or three.
    """

    def __init__(self, say: Callable[[str], None], data: Path | None = None, nodes: int = 1) -> None:
        self.nodes = nodes
        self._say = say
        self._data = data
        self._closing = ExitStack()
        self._kafka = EmbeddedKafka(nodes, progress=lambda text: say(str(text)))
        self._count = 0
        self.folder = Path()
        self.servers = ""

    def __enter__(self) -> Self:
        self.folder = Path(
            self._closing.enter_context(tempfile.TemporaryDirectory(prefix="stream-infer-load-"))
        )
        self._say("starting Kafka")
        self._closing.enter_context(self._kafka)
        self.servers = self._kafka.bootstrap_servers
        self._say("training the model")
        (self.folder / "schemas").mkdir()
        (self.folder / "schemas" / f"{SCHEMA_ID}-event.avsc").write_text(SCHEMA)
        data = self._data or training_file(self.folder / "rows.parquet")
        self.call("train", "--data", data, "--out", self.model, "--name", "bench")
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def model(self) -> Path:
        """The model that every program under test scores with."""
        return self.folder / "model"

    def topic(self, name: str, partitions: int = PARTITIONS) -> str:
        """Make the four topics of a new deployment; returns the input topic. The worker's group is ``name``."""
        self._count += 1
        topic = f"{name}-{self._count}.events"
        self._config(topic).write_text(self._toml(topic))
        self.call("topics", "create", "-c", self._config(topic), "--input-partitions", str(partitions))
        return topic

    def kill_broker(self, node: int) -> None:
        """End a broker (from 1) as kill -9 does."""
        self._kafka.kill(node)

    def restart_broker(self, node: int) -> None:
        """Start it again."""
        self._kafka.restart(node)

    def end_count(self, topic: str) -> int:
        """Events of an input topic."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "ends"})
        try:
            return end_count(consumer, topic, partitions_of(consumer, topic))
        finally:
            consumer.close()

    def fill(self, topic: str, events: int) -> None:
        """Put events into a topic; the partition is the host's number."""
        producer = Producer(
            {"bootstrap.servers": self.servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
        )
        for start in range(0, events, _FILL_AT_ONCE):
            keys, values = pairs(start, min(_FILL_AT_ONCE, events - start))
            for number, (key, value) in enumerate(zip(keys, values, strict=True), start):
                producer.produce(topic, value, key, number % HOSTS % PARTITIONS)
            producer.flush(60)

    def worker(self, topic: str, **environment: str) -> Run:
        """Start the worker on a topic; settings as SECTION__KEY=value."""
        prefixed = {f"STREAM_INFER__{name}": value for name, value in environment.items()}
        run = Run(self, f"worker-{topic}", [_PROGRAM, "run", "-c", self._config(topic)], prefixed)
        self._closing.callback(run.stop)
        return run

    def candidate(self) -> Path:
        """Train another model on the same rows, for shadows."""
        data = self._data or self.folder / "rows.parquet"
        self.call("train", "--data", data, "--out", self.folder / "candidate", "--threshold-quantile", "0.98")
        return self.folder / "candidate"

    def shadow(self, topic: str, candidate: Path, *options: str, **environment: str) -> Run:
        """Start a shadow of a topic's worker; settings as SECTION__KEY=value."""
        own = {"SHADOW__MODEL": str(candidate), "SHADOW__PORT": "0", **environment}
        prefixed = {f"STREAM_INFER__{name}": value for name, value in own.items()}
        self.call("topics", "create", "-c", self._config(topic), **prefixed)
        run = Run(
            self, f"shadow-{topic}", [_PROGRAM, "shadow", "-c", self._config(topic), *options], prefixed
        )
        self._closing.callback(run.stop)
        return run

    def peer(self, module: str, topic: str, events: int) -> Run:
        """Start a rival on a topic."""
        command = [
            sys.executable,
            "-m",
            f"load.peers.{module}",
            self.servers,
            topic,
            group(topic),
            self.model,
            str(events),
        ]
        run = Run(self, f"{module}-{topic}", command, {})
        self._closing.callback(run.stop)
        return run

    def _config(self, topic: str) -> Path:
        return self.folder / f"{topic}.toml"

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

    def _toml(self, topic: str) -> str:
        sections = {
            "app": {"id": group(topic)},
            "kafka": {"bootstrap_servers": self.servers},
            "registry": {"dir": "schemas"},
            "input": {
                "topic": topic,
                "entity": "entity_id",
                "time": "ts",
                "event_id": "event_id",
                "features": "features",
            },
            "model": {"path": str(self.model)},
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
