"""From settings to a worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from stream_infer.assignment import Assignment
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.source import SchemaSource
from stream_infer.build import sandbox
from stream_infer.build.events import fields_of, own_schema_id, schemas_of
from stream_infer.build.kernels import compiling
from stream_infer.build.lane import lane_of
from stream_infer.build.model import Followed, ModelAtHand, fixed, model_of
from stream_infer.build.producer import producer_of
from stream_infer.checkpoint import Checkpoint
from stream_infer.config import Config
from stream_infer.control import ControlServer, Metrics, Status
from stream_infer.delivery.at_least_once import AtLeastOnce
from stream_infer.delivery.delivery import Delivery, Outbox
from stream_infer.delivery.exactly_once import ExactlyOnce
from stream_infer.delivery.settings import consumer_settings, reader_settings
from stream_infer.delivery.source import BatchLimits, InputSource, Source
from stream_infer.delivery.state_topic import StateReader
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.models.loading import LoadedModel
from stream_infer.models.manifest import Manifest
from stream_infer.observation import COMPONENTS, Observation
from stream_infer.pace import CommitPace
from stream_infer.partitions import Partitions
from stream_infer.probe import Unfit
from stream_infer.publish import Publisher
from stream_infer.quarantine.attempts import Attempts
from stream_infer.quarantine.quarantine import Quarantine
from stream_infer.quarantine.sandbox import Sandbox, SandboxLimits
from stream_infer.records import Batch, Columns, Scores
from stream_infer.rejects.records import RejectRecords
from stream_infer.restore import Restore, StartPolicy
from stream_infer.scorer import Scorer
from stream_infer.service import Companion, Service
from stream_infer.stages import Publisher as AnyPublisher
from stream_infer.stages import Stages, Swap
from stream_infer.swap import Candidate, FixedModel, ModelSwap
from stream_infer.warm import Encode, warm_up
from stream_infer.watchdog import StallCount, Watchdog
from stream_infer.windows.table import EntityTable
from stream_infer.worker import Worker

__all__ = ["Assembly", "build"]

_REST_S = 0.005
_DELIVERY_EVENTS_MAX = 50_000
_READY_TIMEOUT_S = 60.0
_STALLED_TRANSACTIONS = 3


def build(config: Config, early: Outbox | None = None) -> Service:
    """Make a worker of these settings. Loads the model and asks the registry, but does not touch Kafka yet.

    ``early`` has the producer to go on with, where there is one already.

    Raises ConfigError, ModelError, RegistryError.
    """
    with compiling(config):
        model, followed = model_of(config.model)
        schemas = schemas_of(config)
    return Assembly(config, model, followed, schemas, early).service()


class Assembly:
    """The parts of one worker while they are put together. What a shadow has other parts for is a method."""

    def __init__(
        self,
        config: Config,
        model: ModelAtHand,
        followed: Followed | None,
        schemas: SchemaSource,
        early: Outbox | None = None,
    ) -> None:
        loaded = model.loaded
        self._early = early
        self.config = config
        self.model = model
        self.followed = followed
        self.schemas = schemas
        self.metrics = Metrics()
        self.status = Status(COMPONENTS)
        self.assignment = Assignment()
        self.lane = lane_of(config)
        self.table = EntityTable(loaded.layout, loaded.profiles, config.state.idle_ttl_s)
        self.source = self.make_source()
        self.attempts = Attempts(
            config.quarantine.deaths,
            max(config.batch.max_events, _DELIVERY_EVENTS_MAX) + config.batch.max_events,
            uuid.uuid4().hex,
            self.table.replay_from,
        )
        quarantine = config.quarantine
        self.sandbox = Sandbox(
            sandbox.COMMAND,
            self._sandbox_config(model.path, model.version),
            SandboxLimits(quarantine.timeout_s, quarantine.memory_bytes),
        )
        self.observation = self.make_observation()

    def service(self) -> Service:
        """Everything that runs."""
        config = self.config
        delivery = self._delivery()
        checkpoint = Checkpoint(
            self.table,
            config.state.topic,
            config.state.flush_interval_s,
            config.state.restore_target_s,
            self.metrics.flushed,
            expires=config.state.idle_ttl_s > 0,
        )
        partitions = self._partitions(delivery, checkpoint)
        made = self._candidate(self.model, delivery, checkpoint)
        swap, follower = self._swap(made, lambda model: self._candidate(model, delivery, checkpoint))
        pace, quarantine = self.make_pace(), self._quarantine()
        worker = Worker(
            self.source, partitions, made.stages, delivery, pace, quarantine, swap, self.observation
        )
        companions = [self._watchdog(), *follower]
        return Service(worker, self._control(), companions, config.delivery.drain_timeout_s)

    # ---- what a shadow has others of

    def make_source(self) -> InputSource:
        """Where batches come from."""
        batch = self.config.batch
        limits = BatchLimits(batch.max_events, batch.max_bytes, batch.linger_ms)
        topic = self.config.input.topic
        return Source(self.consumer_settings(), topic, self.lane.intake(topic, limits))

    def fetch_settings(self) -> Mapping[str, Any]:
        """How the member of the group fetches, where [kafka.consumer] does not say otherwise."""
        return {}

    def linger_ms(self) -> int:
        """How long the producer waits for a request to fill; a commit ends it."""
        return self.lane.linger_ms

    def make_pace(self) -> CommitPace:
        """When to commit."""
        batch_events = self.config.batch.max_events
        interval_s = self.config.delivery.commit_interval_ms / 1000
        return CommitPace(interval_s, _REST_S, batch_events, max(batch_events, _DELIVERY_EVENTS_MAX))

    def make_policy(self) -> StartPolicy:
        """Where a new group begins."""
        return StartPolicy(self.config.input.start, self.config.input.on_gap)

    def make_publisher(self, delivery: Delivery, manifest: Manifest) -> tuple[AnyPublisher, Encode]:
        """What writes the results, and its encoding alone, to be warmed up."""
        output, topic = self.config.output, self.config.input.topic
        schema_id = own_schema_id(self.schemas, "scored_event", output.scored_topic)
        encoder = ScoredEncoder(schema_id, manifest.features, manifest.name, manifest.version, topic)
        records = RejectRecords(topic, manifest.version, framed=self.schemas.framed)
        publisher = Publisher(
            delivery, encoder, output.scored_topic, output.reject_topic, output.headers, records
        )

        def encode(batch: Batch, columns: Columns, scores: Scores) -> None:
            encoder.encode(batch, columns, scores)
            records.warm_up()

        return publisher, encode

    def make_observation(self) -> Observation:
        """Who is told of it all."""
        return Observation(self.metrics, self.status, self.source, self.assignment, self.table)

    def beside(self, positions: dict[int, int]) -> list[TopicPartition]:  # noqa: ARG002 - a shadow's source knows
        """Offsets of other topics to commit with these of the input."""
        return []

    # ---- what both have

    def _candidate(self, model: ModelAtHand, delivery: Delivery, checkpoint: Checkpoint) -> Candidate:
        """A model with its stages, warmed up."""
        loaded = model.loaded
        decoder = Decoder(self.schemas, fields_of(self.config, loaded.manifest.features))
        scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, self.table)
        publisher, encode = self.make_publisher(delivery, loaded.manifest)
        warm_up(loaded, decoder, scorer, encode, self.config.batch.max_events)
        return Candidate(loaded, model.path, decoder, scorer, Stages(decoder, scorer, publisher, checkpoint))

    def _swap(
        self, made: Candidate, candidate_of: Callable[[ModelAtHand], Candidate]
    ) -> tuple[Swap, list[Companion]]:
        """What changes the model in mid-stream, and what runs beside the worker for it."""
        if self.followed is None or self.model.version is None:
            return FixedModel(), []
        followed, running, settings = self.followed, self.model.version.version, self.config.model
        features = made.loaded.manifest.features

        def prepare(version: ModelVersion) -> Candidate:
            candidate = candidate_of(followed.open(version))
            if isinstance(self.config.input.features, str) and candidate.loaded.manifest.features != features:
                raise Unfit(
                    "it takes other features than the version in use, or in another order, and "
                    f"input.features = {self.config.input.features} is an array, which names none. Cure: train it on "
                    "the same features"
                )
            swap.probe(candidate)
            return candidate

        follower = followed.follower(running, prepare, self.observation)
        swap = ModelSwap(follower, self.table, running, made, settings.max_flips, self._swapped)
        return swap, [follower]

    def _swapped(self, version: ModelVersion, candidate: Candidate) -> None:
        self.sandbox.renew(self._sandbox_config(candidate.path, version))
        self._tell_model(candidate.loaded, version)
        self.observation.swapped(version.name, version.version)

    def _tell_model(self, loaded: LoadedModel, version: ModelVersion | None) -> None:
        manifest = loaded.manifest
        own = () if version is None else (version.aliases, version.uri, version.run_link)
        self.metrics.model(manifest.name, manifest.version, loaded.device, *own)
        self.status.component("model", ok=True, detail=f"{manifest.name} {manifest.version}")
        self.status.fact(model=manifest.name, version=manifest.version, device=loaded.device)
        if version is not None:
            self.status.fact(
                model_aliases=version.aliases,
                model_uri=version.uri,
                model_run=version.run_link,
                model_metrics=dict(version.metrics),
            )

    def _sandbox_config(self, path: Path, version: ModelVersion | None) -> Config:
        """The settings with the model of this folder, for the sandbox: it follows nothing."""
        return self.config.model_copy(update={"model": fixed(self.config.model, path, version)})

    def consumer_settings(self) -> dict[str, Any]:
        """Settings of the member of the group."""
        kafka = self.config.kafka
        return consumer_settings(
            kafka.client_settings(),
            {**self.fetch_settings(), **kafka.consumer_settings()},
            self.config.app.id,
            kafka.group_protocol,
            self.config.delivery.slot or "",
        )

    def _quarantine(self) -> Quarantine:
        return Quarantine(self.attempts, self.sandbox, self.table, self.metrics.suspected)

    def _delivery(self) -> Delivery:
        config = self.config.delivery
        timeout_s = config.transaction_timeout_ms / 1000
        exactly_once = config.mode == "exactly_once"
        slot = (config.slot or uuid.uuid4().hex) if exactly_once else None
        outbox = self.lane.outbox(producer_of(self.config, slot, self.linger_ms()), timeout_s, self._early)
        if not exactly_once:
            return AtLeastOnce(outbox, lambda positions: self.source.commit(positions, self.attempts.note))
        return ExactlyOnce(
            outbox,
            self.config.input.topic,
            timeout_s,
            ready_timeout_s=_READY_TIMEOUT_S,
            progress=self.observation.progressed,
            rebuilt=self.observation.rebuilt,
            beside=self.beside,
            note=self.attempts.note,
        )

    def _partitions(self, delivery: Delivery, checkpoint: Checkpoint) -> Partitions:
        config = self.config
        reader = StateReader(
            reader_settings(config.kafka.client_settings(), config.kafka.consumer_settings(), config.app.id),
            config.state.topic,
            self.table.load,
        )
        restore = Restore(
            self.source,
            self.assignment,
            self.attempts,
            reader,
            self.table,
            self.make_policy(),
            self.observation.restored,
        )
        return Partitions(
            self.source,
            delivery,
            self.assignment,
            self.attempts,
            self.table,
            checkpoint,
            restore,
            self.observation.rebalanced,
        )

    def _control(self) -> ControlServer | None:
        control = self.config.control
        self._tell_model(self.model.loaded, self.model.version)
        self.status.component("registry", ok=True, detail="schemas at hand")
        self.status.fact(
            app=self.config.app.id,
            delivery=self.config.delivery.mode,
            lane=self.lane.name,
            lane_detail=self.lane.detail,
        )
        if not control.enabled:
            return None
        return ControlServer(control.host, control.port, self.status, self.metrics, self._stalled_s())

    def _watchdog(self) -> Watchdog:
        stalls = StallCount(self.config.control.stalls_file)
        self.metrics.stalled(stalls.count)

        def ending() -> None:
            self.metrics.stalled(1)
            stalls.add()

        return Watchdog(self.status.progress_age_s, self._stalled_s(), ending)

    def _stalled_s(self) -> float:
        return _STALLED_TRANSACTIONS * self.config.delivery.transaction_timeout_ms / 1000
