"""What a measurement stands on: a broker, models, topics, and the programs under test in their own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from load.events import USUAL, training_file
from load.processes import usage
from load.run import Run
from load.topics import PARTITIONS, fill, fill_hidden, group, records, stamp
from load.traffic import SCHEMA_ID, Traffic
from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded.ports import free_ports

__all__ = ["ModelKind", "Run", "Stand"]

ModelKind = Literal["autoencoder", "forecast"]

_PROGRAM = Path(sys.executable).parent / "stream-infer"


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
        """Make the four topics of a new deployment; returns the input topic. The worker's group is ``topics.group``'s.

        ``source``: a model and an alias to follow, in the place of the model.
        """
        topic = f"{name}-{len(self._traffic) + 1}.events"
        self._traffic[topic] = traffic
        self._config(topic).write_text(self._toml(topic, source))
        self.call("topics", "create", "-c", self._config(topic), "--input-partitions", str(partitions))
        stamp(self.servers, f"{topic}.scored")
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

    def fill(self, topic: str, events: int, start: int = 0) -> None:
        """Put events into a topic; the partition is the entity's number."""
        fill(self.servers, topic, records(self._traffic[topic], start, events))

    def fill_hidden(self, topic: str, events: int) -> Callable[[], None]:
        """Put events into a topic that nobody sees, all of them at once, until what is returned is called."""
        return fill_hidden(self.servers, topic, records(self._traffic[topic], 0, events))

    def worker(
        self, topic: str, cores: Sequence[int] = (), variables: Mapping[str, str] = {}, **environment: str
    ) -> Run:
        """Start the worker on a topic; settings as SECTION__KEY=value. ``variables``: others of its environment."""
        prefixed = {f"STREAM_INFER__{name}": value for name, value in environment.items()}
        command = [_PROGRAM, "run", "-c", self._config(topic)]
        return self._started(Run(self.folder, f"worker-{topic}", command, {**prefixed, **variables}, cores))

    def candidate(self) -> Path:
        """Train another model on the same rows, for shadows."""
        data = self._data or self._training_rows()
        self.call("train", "--data", data, "--out", self.folder / "candidate", "--threshold-quantile", "0.98")
        return self.folder / "candidate"

    def shadow(
        self, topic: str, candidate: Path, *options: str, before: Sequence[str] = (), **environment: str
    ) -> Run:
        """Start a shadow of a topic's worker; settings as SECTION__KEY=value. ``before``: a command to start it by.

        It starts at once, however often it was killed, unless the settings say otherwise.
        """
        usual = {"SHADOW__MODEL": str(candidate), "SHADOW__PORT": "0", "SHADOW__RESTART_PAUSE_S": "0"}
        own = {**usual, **environment}
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

    def _started(self, run: Run) -> Run:
        self._closing.callback(run.stop)
        return run

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
