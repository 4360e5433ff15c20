"""Everything the demo runs on, from open to close: Kafka, registry, topics, model, worker, producer."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from stream_infer.cluster import Cluster, Topic
from stream_infer.demo.pages import Pages
from stream_infer.demo.producer import Assignment
from stream_infer.demo.records import Topics
from stream_infer.demo.settings import Settings
from stream_infer.demo.steps import Steps
from stream_infer.demo.traffic import Traffic, feature_paths
from stream_infer.demo.trained import TRAINING, cached_model, is_whole, require_fit
from stream_infer.demo.worker_settings import Surroundings, worker_settings
from stream_infer.embedded import EmbeddedKafka, EmbeddedRegistry
from stream_infer.embedded.process import Supervisor, last_lines
from stream_infer.errors import BrokerError, RegistryError, WorkerError
from stream_infer.topics import Plan

__all__ = ["Stage"]

_LOOK_S = 0.05
_LOG_LINES = 15
_TRAIN_S = 600.0
_READY_S = 120.0
_GRACE_S = 3.0
_JOIN_S = 10.0
_DRAIN_S = 20.0

_KAFKA, _REGISTRY, _MODEL, _WORKER = "Kafka 4.3.1", "schema registry", "model", "worker"


class Stage:
    """``open`` brings everything up to a worker that waits for events; ``go`` lets the producer begin.

    ``close`` ends all of it and removes the folder, unless it is to be kept. What ends by itself in between is an
    error that ``check`` raises, with the last lines of its log.
    """

    def __init__(self, settings: Settings, traffic: Traffic, steps: Steps) -> None:
        self.settings = settings
        self.topics = Topics()
        self._traffic = traffic
        self._steps = steps
        self._folder: Path | None = None
        self._kafka: EmbeddedKafka | None = None
        self._registry: EmbeddedRegistry | None = None
        self._supervisor: Supervisor | None = None
        self._starters: list[_Starter] = []
        self._running: set[str] = set()
        self._pages: Pages | None = None

    @property
    def folder(self) -> Path:
        """Where settings, logs and (if kept) Kafka's data are."""
        assert self._folder is not None
        return self._folder

    @property
    def pages(self) -> Pages:
        """The worker's pages."""
        assert self._pages is not None
        return self._pages

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address."""
        assert self._kafka is not None
        return self._kafka.bootstrap_servers

    def open(self) -> None:
        """Bring everything up; what does not depend on each other side by side."""
        if self.settings.model is not None:
            require_fit(self.settings.model, self._traffic.data.feature_names)
        self._folder = Path(tempfile.mkdtemp(prefix="stream-infer-demo-"))
        keep = self.settings.keep
        self._supervisor = Supervisor(grace_s=_GRACE_S, remove=None if keep else self._folder)
        self._supervisor.open()
        self._pages = Pages(self._log("worker"))
        kafka_dir = self._folder / "kafka" if keep else None
        self._kafka = EmbeddedKafka(data_dir=kafka_dir, progress=partial(self._steps.note, _KAFKA))
        self._registry = EmbeddedRegistry(progress=partial(self._steps.note, _REGISTRY), grace_s=0.0)
        self._steps.begin(_KAFKA)
        self._steps.begin(_REGISTRY)
        self._starters = [_Starter(self._start_kafka), _Starter(self._start_registry)]
        model = self._ready_model()
        while sum(starter.is_done() for starter in self._starters) < len(self._starters):
            time.sleep(_LOOK_S)
        self._running |= {_KAFKA, _REGISTRY}
        self._start_worker(model)

    def go(self) -> None:
        """Let the producer begin."""
        (self.folder / "go").touch()

    def check(self) -> None:
        """Raise a WorkerError for whatever ended by itself, with its last words."""
        assert self._kafka is not None
        assert self._registry is not None
        if _KAFKA in self._running and 1 not in self._kafka.pids:
            raise BrokerError(f"{_KAFKA} ended by itself:\n{self._kafka.last_log_lines(1)}")
        if _REGISTRY in self._running and not self._registry_runs():
            raise RegistryError("the schema registry ended by itself")
        for name in ("worker", "producer"):
            status = self._open_supervisor.status(name) if name in self._running else None
            if status is not None and (name, status) != ("producer", 0):
                raise WorkerError(f"the {name} ended by itself (status {status}):\n{self._last_lines(name)}")

    def stop_producer(self) -> None:
        """Ask the producer to publish no more; it confirms what it sent."""
        self._open_supervisor.send("producer", signal.SIGTERM)

    def sent_count(self) -> int | None:
        """How many events the producer sent in all; None while it still runs. Raises if it failed."""
        if self._open_supervisor.status("producer") is None:
            return None
        self.check()
        for line in reversed(self._log("producer").read_text("utf-8", "replace").splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                return int(json.loads(line)["sent"])
        raise WorkerError(f"the producer ended without its count:\n{self._last_lines('producer')}")

    def stop_worker(self) -> None:
        """Let the worker drain and end. Raises WorkerError where it does not end well."""
        self._running.discard("worker")
        self._open_supervisor.send("worker", signal.SIGTERM)
        status = self._open_supervisor.wait("worker", _DRAIN_S)
        if status != 0:
            how = (
                "did not drain in time"
                if status is None
                else f"ended with status {status} when asked to drain"
            )
            raise WorkerError(f"the worker {how}:\n{self._last_lines('worker')}")

    def close(self) -> None:
        """End everything that runs. May be called twice, and before ``open`` has returned."""
        self._running.clear()
        for part in (self._supervisor, self._kafka, self._registry):
            if part is not None:
                part.close() if isinstance(part, Supervisor) else part.stop()
        for starter in self._starters:
            starter.join(_JOIN_S)
        if self._folder is not None and not self.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _open_supervisor(self) -> Supervisor:
        assert self._supervisor is not None
        return self._supervisor

    def _start_kafka(self) -> None:
        assert self._kafka is not None
        self._kafka.start()
        self._create_topics()
        self._steps.done(
            _KAFKA, f"{self._kafka.bootstrap_servers}, {self.settings.partitions} partitions a topic"
        )

    def _create_topics(self) -> None:
        """Make the topics as `stream-infer topics create` does."""
        cluster = Cluster.open({"bootstrap.servers": self.bootstrap_servers}, timeout_s=10)
        count = self.settings.partitions
        cluster.create([Topic(self.topics.input, count, 1)])
        source = cluster.topics([self.topics.input])[self.topics.input]
        roles = Plan(self.topics.scored, self.topics.rejected, self.topics.state).roles(source)
        cluster.create([Topic(role.name, count, 1, role.config) for role in roles])

    def _start_registry(self) -> None:
        assert self._registry is not None
        self._registry.start()
        self._steps.done(_REGISTRY, self._registry.url)

    def _registry_runs(self) -> bool:
        assert self._registry is not None
        with suppress(KeyError):
            return bool(self._registry.pid)
        return False

    def _ready_model(self) -> Path:
        """The user's model, the one trained before, or one trained now by `stream-infer train`."""
        self._steps.begin(_MODEL)
        given = self.settings.model
        if given is not None:
            self._steps.done(_MODEL, str(given))
            return given
        model = cached_model(self.settings.data)
        if is_whole(model):
            self._steps.done(_MODEL, "trained before")
            return model
        count = len(self._traffic.data.entities)
        self._steps.note(_MODEL, f"training on {self.settings.data.name}, {count} entities (once)")
        self._launch(
            "train", "train", "--data", str(self.settings.data.resolve()), "--out", str(model), *TRAINING
        )
        self._finish("train", _TRAIN_S)
        self._steps.done(_MODEL, "trained")
        return model

    def _start_worker(self, model: Path) -> None:
        assert self._registry is not None
        self._steps.begin(_WORKER)
        surroundings = Surroundings(self.bootstrap_servers, self._registry.url, self.topics, model)
        config = self.folder / "worker.toml"
        config.write_text(worker_settings(surroundings, feature_paths(self._traffic.data)), "utf-8")
        self._launch("worker", "run", "-c", str(config))
        self._start_producer()
        deadline_s = time.monotonic() + _READY_S
        while not self.pages.works_on(self.settings.partitions):
            self.check()
            if time.monotonic() > deadline_s:
                raise WorkerError(
                    f"the worker is not ready after {_READY_S:g} s:\n{self._last_lines('worker')}"
                )
            time.sleep(_LOOK_S)
        self._steps.done(_WORKER, f"{self.pages.url}/status and /metrics")

    def _start_producer(self) -> None:
        """Start the producer; it prepares itself beside the worker and waits for ``go``."""
        assert self._registry is not None
        assignment = Assignment(
            bootstrap_servers=self.bootstrap_servers,
            registry_url=self._registry.url,
            topic=self.topics.input,
            data=str(self.settings.data.resolve()),
            events_count=self.settings.events_count,
            broken=self.settings.broken,
            rate=self.settings.rate,
            go=str(self.folder / "go"),
        )
        path = self.folder / "producer.json"
        assignment.write(path)
        command = [sys.executable, "-m", "stream_infer.demo.producer", str(path)]
        self._open_supervisor.start("producer", command, self._log("producer"))
        self._running.add("producer")

    def _launch(self, name: str, *arguments: str) -> None:
        """Start a command of this program."""
        command = [sys.executable, "-c", "from stream_infer.cli import main; main()", *arguments]
        self._open_supervisor.start(name, command, self._log(name))
        self._running.add(name)

    def _finish(self, name: str, timeout_s: float) -> None:
        """Wait for a command to end well, while Kafka and the registry start."""
        deadline_s = time.monotonic() + timeout_s
        while (status := self._open_supervisor.status(name)) is None:
            for starter in self._starters:
                starter.is_done()
            if time.monotonic() > deadline_s:
                raise WorkerError(f"{name} takes longer than {timeout_s:g} s:\n{self._last_lines(name)}")
            time.sleep(_LOOK_S)
        self._running.discard(name)
        if status != 0:
            raise WorkerError(f"{name} ended with status {status}:\n{self._last_lines(name)}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_lines(self, name: str) -> str:
        return last_lines(self._log(name), _LOG_LINES)


class _Starter:
    """Starts something in a thread of its own."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start
        self._error: BaseException | None = None
        # A daemon: an interrupted download must not hold up the end of the program.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_done(self) -> bool:
        """Whether it is up. Raises what went wrong."""
        ended = not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return ended

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, whatever came of it."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._start()
        except BaseException as error:  # noqa: BLE001 - raised again by is_done
            self._error = error
