"""From settings to a job that corrects what a bad version scored: a worker with a start, an end and another topic."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException

from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.source import SchemaSource
from stream_infer.build.events import own_schema_id, schemas_of, scored_schemas_of
from stream_infer.build.kernels import compiling
from stream_infer.build.model import ModelAtHand
from stream_infer.build.worker import Assembly
from stream_infer.config import Config
from stream_infer.delivery.delivery import Delivery, error_of
from stream_infer.delivery.settings import reader_settings
from stream_infer.delivery.source import BatchLimits
from stream_infer.log import get_logger
from stream_infer.models.manifest import Manifest
from stream_infer.rescore.observation import RescoreObservation
from stream_infer.rescore.offsets import Offsets
from stream_infer.rescore.publish import CorrectionPublisher
from stream_infer.rescore.scored_by import ScoredBy
from stream_infer.rescore.source import RescoreStart, UpTo
from stream_infer.service import Service
from stream_infer.shadow.standing import Standing, Topics
from stream_infer.stages import Publisher
from stream_infer.topic_reader import TopicReader
from stream_infer.warm import Encode

__all__ = ["Job", "build", "job_config", "scored_by"]

_LOG = get_logger(__name__)
_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 1.0

Told = Callable[[int, int], None]
"""Hears how many events of the range are passed, and how many corrections are committed."""


@dataclass(frozen=True, slots=True)
class Job:
    """The ``wanted`` events were scored by the version ``bad``; ``finished`` is called when all of them are passed."""

    bad: str
    wanted: Offsets
    told: Told
    finished: Callable[[], None]


def job_config(config: Config, bad: str, good: str) -> Config:
    """The settings of the worker that such a job is: a name and state of its own, no control server.

    The same versions give the same name: a job that was killed goes on where it was. A correction is always written
    exactly once, and the model runs here: the worker's server may still have the other one.
    """
    told = hashlib.sha256(f"{bad}|{good}".encode()).hexdigest()[:8]
    name = f"{config.app.id}-rescore-{told}"
    return config.model_copy(
        update={
            "app": config.app.model_copy(update={"id": name}),
            "state": config.state.model_copy(update={"topic": f"{name}.state"}),
            "delivery": config.delivery.model_copy(update={"mode": "exactly_once", "slot": None}),
            "model": config.model.model_copy(update={"server_url": None}),
            "control": config.control.model_copy(update={"enabled": False}),
        }
    )


@contextmanager
def scored_by(config: Config, version: str, corrects: str | None = None) -> Iterator[ScoredBy]:
    """Read which events a version scored; with ``corrects``, which of that version's it has corrected."""
    kafka, output = config.kafka, config.output
    topic = output.scored_topic if corrects is None else output.correction_topic
    setting = "output.scored_topic" if corrects is None else "output.correction_topic"
    reader = TopicReader.open(kafka.client_settings(), kafka.consumer_settings(), topic, setting, _TIMEOUT_S)
    try:
        yield ScoredBy(reader, scored_schemas_of(config), version, corrects)
    finally:
        reader.close()


def build(config: Config, model: ModelAtHand, job: Job) -> Service:
    """Make the job with these settings, those of ``job_config``; it ends by itself.

    Raises ConfigError, RegistryError.
    """
    with compiling(config):
        schemas = schemas_of(config)
    assembly = _Assembly(config, model, schemas, job)
    service = assembly.service()
    assembly.observation.looked = assembly.ending(service)
    return service


class _Assembly(Assembly):
    observation: RescoreObservation

    def __init__(self, config: Config, model: ModelAtHand, schemas: SchemaSource, job: Job) -> None:
        self._job = job
        super().__init__(config, model, None, schemas)

    def make_source(self) -> UpTo:
        """The input, as far as it is wanted."""
        batch, topic = self.config.batch, self.config.input.topic
        limits = BatchLimits(batch.max_events, batch.max_bytes, batch.linger_ms)
        return UpTo(self.consumer_settings(), topic, self.lane.intake(topic, limits), self._job.wanted.stop)

    def make_policy(self) -> RescoreStart:
        """At the first wanted event, its windows filled."""
        return RescoreStart(self._job.wanted, self.config.shadow.warm_up_events)

    def make_publisher(self, delivery: Delivery, manifest: Manifest) -> tuple[Publisher, Encode]:
        """What writes the corrections."""
        output, topic = self.config.output, self.config.input.topic
        schema_id = own_schema_id(self.schemas, "scored_event", output.correction_topic)
        encoder = ScoredEncoder(schema_id, manifest.features, manifest.name, manifest.version, topic)
        self._delivery_made = delivery
        publisher = CorrectionPublisher(
            delivery, encoder, output.correction_topic, self._job.bad, self._job.wanted, output.headers
        )
        return publisher, encoder.encode

    def make_observation(self) -> RescoreObservation:
        """Who is told of it all."""
        return RescoreObservation(self.metrics, self.status, self.source, self.assignment, self.table)

    def ending(self, service: Service) -> Callable[[Mapping[int, int], int], None]:
        """What tells how far the job is, and ends it once all of its partitions are committed, by whichever process."""
        wanted, job, asked_at = self._job.wanted, self._job, 0.0
        topics = Topics(self.config.input.topic, "", "")
        kafka = self.config.kafka
        settings = reader_settings(kafka.client_settings(), kafka.consumer_settings(), self.config.app.id)
        standing = Standing(settings, topics, primary_starts_at_end=True)

        def looked(positions: Mapping[int, int], corrected: int) -> None:
            nonlocal asked_at
            passed = sum(
                min(max(positions.get(p, 0), first), wanted.stop[p]) - first
                for p, first in wanted.first.items()
            )
            job.told(passed, corrected)
            own = all(positions[p] >= stop for p, stop in wanted.stop.items() if p in positions)
            now = time.monotonic()
            if not own or self._delivery_made.opened_at is not None or now - asked_at < _LOOK_EVERY_S:
                return
            asked_at = now
            try:
                committed = standing.committed(wanted.stop)
            except KafkaException as failure:
                _LOG.warning("whether all is committed cannot be asked", reason=error_of(failure).str())
                return
            if all((committed[p] or 0) >= stop for p, stop in wanted.stop.items()):
                standing.close()
                job.finished()
                service.worker.stop()

        return looked
