"""From settings to a shadow: a worker with another source, publisher and start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from confluent_kafka import Message, TopicPartition

from stream_infer.avro.comparison import ComparisonEncoder
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.details import ScoredDetails
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SchemaSource
from stream_infer.build.events import own_schema_id, schemas_of, scored_schemas_of
from stream_infer.build.kernels import compiling
from stream_infer.build.model import Followed, ModelAtHand, model_of, version_of
from stream_infer.build.shadow_config import shadow_config
from stream_infer.build.worker import Assembly
from stream_infer.config import Config
from stream_infer.config.shadow import place
from stream_infer.delivery.delivery import Delivery
from stream_infer.delivery.settings import reader_settings
from stream_infer.delivery.source import BatchLimits
from stream_infer.models.manifest import Manifest
from stream_infer.pace import CommitPace
from stream_infer.records import Batch, Columns, Scores
from stream_infer.service import Service
from stream_infer.shadow.draft import Draft, Work
from stream_infer.shadow.member import Member, gathering_settings, member_settings
from stream_infer.shadow.observation import ShadowObservation
from stream_infer.shadow.outcomes import SCORED, Outcomes
from stream_infer.shadow.primary import NAME, NUMBERS, VERSION, PrimaryReader
from stream_infer.shadow.publish import ComparisonPublisher
from stream_infer.shadow.rate import Rate
from stream_infer.shadow.rows import Rows
from stream_infer.shadow.source import HoldLimits, ShadowSource
from stream_infer.shadow.standing import KeyOf, Seeker, Standing, Start, Topics
from stream_infer.shadow.start import PrimaryGuide, Range, ShadowStart
from stream_infer.shadow.waiting import Waiting
from stream_infer.stages import Publisher
from stream_infer.warm import Encode

__all__ = ["Backtest", "Told", "backtest_config", "build", "span_of"]

_LONG_INTERVALS = 2
"""An event whose result has not come for so many intervals is asked about: what is on its way comes within one."""

Told = Callable[[int, int], None]
"""Hears how many events of a range are passed, and how many comparisons are committed."""


def backtest_config(config: Config, start: str, end: str | None, topic: str | None) -> Config:
    """The settings of a shadow that goes over a range once: a name and state of its own, and another topic.

    The same range and candidate give the same name: a backtest that was killed goes on where it was. An alias is
    looked up once: what it comes to mean later plays no part. Raises ModelError.
    """
    shadow = config.shadow
    version, source = version_of(shadow_config(config).model)
    told = "|".join([version, start, end or "", topic or ""])
    name = f"{shadow.id}-backtest-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    own = {
        "id": name,
        "state_topic": f"{name}.state",
        "source": source,
        "comparison_topic": topic or f"{shadow.comparison_topic}.backtest",
    }
    return config.model_copy(update={"shadow": shadow.model_copy(update=own)})


@dataclass(frozen=True, slots=True)
class Backtest:
    """A range to go over once, at most at ``rate`` events/s (None: no limit); ``finished`` is called at its end."""

    span: Range
    rate: float | None
    told: Told
    finished: Callable[[], None]


def build(config: Config, backtest: Backtest | None = None) -> Service:
    """Make a shadow of the worker with these settings; one that does a backtest ends by itself.

    Loads the model and asks the registry. Raises ConfigError, ModelError, RegistryError.
    """
    own = shadow_config(config)
    with compiling(own):
        model, schemas = model_of(own.model), schemas_of(config)
    assembly = _Assembly(config, own, model, schemas, backtest)
    service = assembly.service()
    if backtest is not None:
        assembly.observation.looked = assembly.ending(service, backtest)
    return service


def span_of(config: Config, start: str, end: str | None) -> Range:
    """What a backtest goes over: from a place to another (default: the worker's), as far as the worker is now."""
    standing = _standing(config)
    try:
        return Range.of(standing, Start(*place(start)), Start(*place(end or "primary")))
    finally:
        standing.close()


def _topics(config: Config) -> Topics:
    return Topics(config.input.topic, config.output.scored_topic, config.output.reject_topic)


def _reader_settings(config: Config) -> dict[str, object]:
    kafka = config.kafka
    return dict(reader_settings(kafka.client_settings(), kafka.consumer_settings(), config.app.id))


def _standing(config: Config) -> Standing:
    starts_at_end = config.input.start == "latest"
    return Standing(_reader_settings(config), _topics(config), primary_starts_at_end=starts_at_end)


class _Assembly(Assembly):
    """``primary`` are the worker's settings, ``config`` the shadow's own."""

    observation: ShadowObservation

    def __init__(
        self,
        primary: Config,
        config: Config,
        model: tuple[ModelAtHand, Followed | None],
        schemas: SchemaSource,
        backtest: Backtest | None,
    ) -> None:
        self._span = None if backtest is None else backtest.span
        self._rate = Rate(None if backtest is None else backtest.rate)
        self._standing = _standing(primary)
        self._scored_schemas = scored_schemas_of(primary)
        wanted = Fields(NUMBERS, len(NUMBERS), NAME, None, VERSION)
        self._reader = PrimaryReader(Decoder(self._scored_schemas, wanted), config.input.topic)
        super().__init__(config, *model, schemas)

    def make_source(self) -> ShadowSource:
        """Input, scored and reject topic."""
        topics, batch, reader = _topics(self.config), self.config.batch, self._reader
        seeker = Seeker(
            _reader_settings(self.config),
            topics,
            _first_key(lambda message: reader.scored([message])[0]),
            _first_key(lambda message: reader.rejected([message])),
            lambda: self.observation.progressed(),  # noqa: PLW0108 - it is made later
        )
        self._pairs = ShadowSource(
            Member(member_settings(self.consumer_settings()), topics),
            topics,
            reader,
            PrimaryGuide(self._standing, seeker, self._span),
            HoldLimits(BatchLimits(batch.max_events, batch.max_bytes), self.config.shadow.held_bytes),
            self._rate,
            Waiting(_LONG_INTERVALS * self.config.shadow.commit_interval_ms / 1000),
            self.assignment.publish_from,
        )
        return self._pairs

    def fetch_settings(self) -> Mapping[str, Any]:
        """Seldom and much, as transactions are."""
        return gathering_settings(self.config.shadow.commit_interval_ms)

    def linger_ms(self) -> int:
        """Until the commit: a slow model's small batches go together, too."""
        return max(super().linger_ms(), self.config.shadow.commit_interval_ms)

    def make_pace(self) -> CommitPace:
        """Few and large transactions: what each takes of the brokers, the worker's own have to wait for."""
        interval_ms, pace = self.config.shadow.commit_interval_ms, super().make_pace()
        if interval_ms == 0:
            return pace
        return replace(pace, interval_s=interval_ms / 1000, rest_s=0.0, grouped_events=0)

    def make_policy(self) -> ShadowStart:
        """Where a new shadow begins."""
        shadow = self.config.shadow
        start, on_gap = Start(*place(shadow.start)), self.config.input.on_gap
        return ShadowStart(self._standing, start, self._span, on_gap, shadow.warm_up_events)

    def make_observation(self) -> ShadowObservation:
        """Who is told of it all."""
        return ShadowObservation(
            self.metrics, self.status, self._pairs, self.assignment, self.table, self._reader
        )

    def make_publisher(self, delivery: Delivery, manifest: Manifest) -> tuple[Publisher, Encode]:
        """What writes the comparisons."""
        topic = self.config.shadow.comparison_topic
        schema_id = own_schema_id(self.schemas, "comparison", topic)
        encoder = ComparisonEncoder(schema_id, self.config.input.topic, self.config.shadow.id)
        details = ScoredDetails(self._scored_schemas, manifest.features)
        draft = Draft(details, (manifest.name, manifest.version))
        self._delivery_made = delivery
        publisher = ComparisonPublisher(
            delivery, draft, encoder, topic, lambda: self._pairs.outcomes, self.observation.counted
        )
        return publisher, lambda *row: encoder.encode(draft.pairs(_one_pair(*row)))

    def beside(self, positions: dict[int, int]) -> list[TopicPartition]:
        """Offsets of the scored and the reject topic."""
        return self._pairs.beside(positions)

    def ending(self, service: Service, backtest: Backtest) -> Callable[[Mapping[int, int], int, bool], None]:
        """What tells how far a backtest is, and ends it once all of its range is committed."""

        def looked(positions: Mapping[int, int], compared: int, exhausted: bool) -> None:  # noqa: FBT001
            backtest.told(backtest.span.passed(positions), compared)
            if exhausted and self._delivery_made.opened_at is None:
                backtest.finished()
                service.worker.stop()

        return looked


def _first_key(rows_of: Callable[[Message], Sequence[tuple[int, Rows]]]) -> KeyOf:
    """The source offset that a single record names."""

    def key_of(message: Message) -> int | None:
        found = rows_of(message)
        return int(found[0][1].key[0]) if found else None

    return key_of


def _one_pair(batch: Batch, columns: Columns, scores: Scores) -> Work:
    """A made-up row and what a primary might have said of it."""
    one = np.zeros(1, np.int64)
    kind, gone = np.full(1, SCORED, np.uint8), np.zeros(1, np.bool_)
    said = Outcomes(batch.partition, batch.offset, kind, gone, np.zeros((1, 4)), one, [(b"", b"")], {}, [])
    return Work(batch, one, columns, scores, {}, said, one)
