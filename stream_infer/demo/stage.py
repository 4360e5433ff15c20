"""Everything the demo runs on, from open to close: Kafka, registry, topics, models, worker, shadow, producer."""

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
from stream_infer.demo.programs import Programs
from stream_infer.demo.records import Topics
from stream_infer.demo.settings import Settings
from stream_infer.demo.steps import Steps
from stream_infer.demo.traffic import Traffic, feature_paths
from stream_infer.demo.trained import CANDIDATE_TRAINING, TRAINING, cached_model, is_whole, require_fit
from stream_infer.demo.worker_settings import Surroundings, worker_settings
from stream_infer.embedded import EmbeddedKafka, EmbeddedRegistry
from stream_infer.embedded.process import Supervisor
from stream_infer.errors import BrokerError, RegistryError, WorkerError
from stream_infer.topics import Plan

__all__ = ["Stage"]

_LOOK_S = 0.05
_TRAIN_S = 600.0
_READY_S = 120.0
_GRACE_S = 3.0
_JOIN_S = 10.0
_DRAIN_S = 20.0

_KAFKA, _REGISTRY, _MODEL, _CANDIDATE = "Kafka 4.3.1", "schema registry", "model", "shadow's model"
_WORKER = "worker"


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
        self._programs: Programs | None = None
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

    @property
    def registry_url(self) -> str:
        """The registry's address."""
        assert self._registry is not None
        return self._registry.url

    def open(self) -> None:
        """Bring everything up; what does not depend on each other side by side."""
        for option, given in (("--model", self.settings.model), ("--candidate", self.settings.candidate)):
            if given is not None:
                require_fit(option, given, self._traffic.data.feature_names)
        self._folder = Path(tempfile.mkdtemp(prefix="stream-infer-demo-"))
        keep = self.settings.keep
        self._supervisor = Supervisor(grace_s=_GRACE_S, remove=None if keep else self._folder)
        self._supervisor.open()
        self._programs = Programs(self._supervisor, self._folder)
        self._pages = Pages(self._programs.log("worker"))
        kafka_dir = self._folder / "kafka" if keep else None
        self._kafka = EmbeddedKafka(data_dir=kafka_dir, progress=partial(self._steps.note, _KAFKA))
        self._registry = EmbeddedRegistry(progress=partial(self._steps.note, _REGISTRY), grace_s=0.0)
        self._steps.begin(_KAFKA)
        self._steps.begin(_REGISTRY)
        self._starters = [_Starter(self._start_kafka), _Starter(self._start_registry)]
        model = self._ready_model(_MODEL, TRAINING, self.settings.model)
        candidate = self._ready_model(_CANDIDATE, CANDIDATE_TRAINING, self.settings.candidate)
        while sum(starter.is_done() for starter in self._starters) < len(self._starters):
            time.sleep(_LOOK_S)
        self._running |= {_KAFKA, _REGISTRY}
        self._start_worker(model, candidate)

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
        self._open_programs.check()

    def stop_producer(self) -> None:
        """Ask the producer to publish no more; it confirms what it sent."""
        self._open_programs.send("producer", signal.SIGTERM)

    def sent_count(self) -> int | None:
        """How many events the producer sent in all; None while it still runs. Raises if it failed."""
        programs = self._open_programs
        if programs.status("producer") is None:
            return None
        self.check()
        for line in reversed(programs.log("producer").read_text("utf-8", "replace").splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                return int(json.loads(line)["sent"])
        raise WorkerError(f"the producer ended without its count:\n{programs.last_lines('producer')}")

    def stop(self, name: str) -> None:
        """Let the worker or the shadow drain and end. Raises WorkerError where it does not end well."""
        self._open_programs.stop(name, signal.SIGTERM, _DRAIN_S)

    def close(self) -> None:
        """End everything that runs. May be called twice, and before ``open`` has returned."""
        self._running.clear()
        if self._programs is not None:
            self._programs.forget()
        for part in (self._supervisor, self._kafka, self._registry):
            if part is not None:
                part.close() if isinstance(part, Supervisor) else part.stop()
        for starter in self._starters:
            starter.join(_JOIN_S)
        if self._folder is not None and not self.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _open_programs(self) -> Programs:
        assert self._programs is not None
        return self._programs

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
        source = cluster.create([Topic(self.topics.input, count, 1)])[self.topics.input]
        topics = self.topics
        plan = Plan(topics.scored, topics.rejected, topics.state, topics.compared, topics.shadow_state)
        roles = plan.roles(source)
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

    def _ready_model(self, step: str, training: tuple[str, ...], given: Path | None) -> Path:
        """The user's model, the one trained before, or one trained now by `stream-infer train`."""
        self._steps.begin(step)
        if given is not None:
            self._steps.done(step, str(given))
            return given
        data, count = self.settings.data, len(self._traffic.data.entities)
        model = cached_model(data, training)
        if is_whole(model):
            self._steps.done(step, "trained before")
            return model
        self._steps.note(step, f"training on {data.name}, {count} entities (once)")
        name = f"train {training[1]}"
        self._open_programs.launch(
            name, "train", "--data", str(data.resolve()), "--out", str(model), *training
        )
        self._open_programs.finish(name, _TRAIN_S, self._look_at_starters)
        self._steps.done(step, "trained")
        return model

    def _look_at_starters(self) -> None:
        for starter in self._starters:
            starter.is_done()

    def _start_worker(self, model: Path, candidate: Path) -> None:
        """Start worker, shadow and producer; the shadow takes the time it needs, it begins at the first event."""
        self._steps.begin(_WORKER)
        surroundings = Surroundings(self.bootstrap_servers, self.registry_url, self.topics, model, candidate)
        config, programs = self.folder / "worker.toml", self._open_programs
        config.write_text(worker_settings(surroundings, feature_paths(self._traffic.data)), "utf-8")
        programs.launch("worker", "run", "-c", str(config))
        self._start_producer()
        deadline_s = time.monotonic() + _READY_S
        while not self.pages.works_on(self.settings.partitions):
            self.check()
            if time.monotonic() > deadline_s:
                said = programs.last_lines("worker")
                raise WorkerError(f"the worker is not ready after {_READY_S:g} s:\n{said}")
            time.sleep(_LOOK_S)
        programs.launch("shadow", "shadow", "-c", str(config))
        self._steps.done(_WORKER, f"{self.pages.url}/status and /metrics")

    def _start_producer(self) -> None:
        """Start the producer; it prepares itself beside the worker and waits for ``go``."""
        assignment = Assignment(
            bootstrap_servers=self.bootstrap_servers,
            registry_url=self.registry_url,
            topic=self.topics.input,
            data=str(self.settings.data.resolve()),
            events_count=self.settings.events_count,
            broken=self.settings.broken,
            rate=self.settings.rate,
            go=str(self.folder / "go"),
        )
        path = self.folder / "producer.json"
        assignment.write(path)
        module = "stream_infer.demo.producer"
        self._open_programs.start("producer", sys.executable, "-m", module, str(path))


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
