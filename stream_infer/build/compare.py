"""From settings to what compares: criteria, statistics, labels, readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.registry import Registry
from stream_infer.avro.source import SchemaSource, SingleSchema
from stream_infer.cluster import Cluster, Topic
from stream_infer.comparison.label_follower import LabelFollower
from stream_infer.comparison.label_ledger import LabelLedger
from stream_infer.comparison.label_source import LabelSource
from stream_infer.comparison.labels import Labels
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.reading import PairReader
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.topic_pairs import TopicPairs
from stream_infer.comparison.verdict import Criteria
from stream_infer.comparison.verdict_record import StoredVerdict, VerdictDecoder, VerdictEncoder
from stream_infer.config import Config
from stream_infer.promotion import News
from stream_infer.topic_reader import TopicReader, offset_of

if TYPE_CHECKING:
    from stream_infer.comparison.app import CompareApp

__all__ = [
    "compare_app",
    "comparison_schemas",
    "criteria_of",
    "labels_of",
    "ledger_of",
    "pairs_of_topic",
    "records_of_topic",
    "verdict_news",
    "verdict_schema_id",
]

_TIMEOUT_S = 10.0


def criteria_of(config: Config) -> Criteria:
    """Return the criteria of the verdict."""
    given = config.compare
    return Criteria(
        minimum_events=given.minimum_events,
        min_agreement=given.min_agreement or None,
        max_rate_change=given.max_rate_change if given.max_rate_change < 1 else None,
        max_latency_ratio=given.max_latency_ratio or None,
        labelled=given.is_labelled,
        alpha=given.alpha,
    )


def ledger_of(config: Config) -> Ledger:
    """Return an empty ledger."""
    return Ledger(*_kept(config))


def _kept(config: Config) -> tuple[Windows, Segments]:
    given = config.compare
    windows = Windows(block_s=given.block_s, minutes=given.minutes, hours=given.hours)
    return windows, Segments(given.rules, given.entities)


def comparison_schemas(config: Config) -> SchemaSource:
    """Where the schemas of comparisons come from: as the shadow wrote them."""
    if config.input.schema_file is not None:
        return SingleSchema(own_schemas.text("comparison"))
    registry = config.registry
    if registry.dir is not None:
        return SchemaDirectory(registry.dir)
    return Registry(registry.client_settings(), registry.timeout_s, registry.cache_dir)


def verdict_schema_id(config: Config, schemas: SchemaSource) -> int | None:
    """Return the id that verdicts carry; None (bare bodies) where comparisons have none either."""
    if isinstance(schemas, Registry):
        return schemas.register(f"{config.compare.verdict_topic}-value", own_schemas.text("verdict"))
    return schemas.id_of("verdict") if isinstance(schemas, SchemaDirectory) else None


@contextmanager
def verdict_news(config: Config) -> Iterator[News]:
    """Give the verdicts of the topic as they come: each call those since the last.

    Both raise BrokerError, RegistryError.
    """
    bare = config.input.schema_file is not None
    schemas = SingleSchema(own_schemas.text("verdict")) if bare else comparison_schemas(config)
    decoder, read_to = VerdictDecoder(schemas), dict[int, int]()
    with _reading(config, config.compare.verdict_topic, "compare.verdict_topic") as reader:

        def news() -> Iterator[StoredVerdict]:
            found = reader.spans()
            spans = {p: (max(first, read_to.get(p, 0)), end) for p, (first, end) in found.items()}
            for messages in reader.chunks({p: span for p, span in spans.items() if span[0] < span[1]}):
                verdicts = [decoder.decode(message.value() or b"") for message in messages]
                yield from (verdict for verdict in verdicts if verdict is not None)
            read_to.update((p, end) for p, (_, end) in spans.items())

        yield news


def labels_of(config: Config) -> Labels:
    """Return the labels of the file and of what is in the topic now."""
    source = _label_source(config)
    try:
        source.take()
    finally:
        source.close()
    return source.labels


def _label_source(config: Config) -> LabelSource:
    given, topic = config.compare, None
    if given.labels_topic is not None:
        topic = _open(config, given.labels_topic, "compare.labels_topic")
    return LabelSource(Labels(given.labels_kept), given.labels, topic, comparison_schemas(config))


def pairs_of_topic(config: Config, topic: str, reader: PairReader) -> Iterator[Pairs]:
    """Yield what is in a comparison topic now, partition by partition in offset order."""
    with _reading(config, topic, "compare.topic") as opened:
        pairs = TopicPairs(opened, reader)
        for partition, (first, end) in sorted(pairs.spans().items()):
            yield from pairs.read(partition, first, end)


def records_of_topic(
    config: Config, topic: str, reader: PairReader
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield what is in a comparison topic now: partition, offset, the record."""
    with _reading(config, topic, "compare.topic") as opened:
        for messages in opened.chunks(opened.spans()):
            for message in messages:
                yield message.partition() or 0, offset_of(message), reader.record(message.value() or b"")


@contextmanager
def _reading(config: Config, topic: str, setting: str) -> Iterator[TopicReader]:
    reader = _open(config, topic, setting)
    try:
        yield reader
    finally:
        reader.close()


def _open(config: Config, topic: str, setting: str) -> TopicReader:
    kafka = config.kafka
    return TopicReader.open(kafka.client_settings(), kafka.consumer_settings(), topic, setting, _TIMEOUT_S)


def compare_app(config: Config, data_dir: str) -> CompareApp:
    """Make the analysts' app. Asks the brokers for the topic; raises BrokerError, RegistryError, ConfigError."""
    from stream_infer.comparison.app import CompareApp  # noqa: PLC0415 (part of an extra)
    from stream_infer.comparison.faust_app import AppSettings  # noqa: PLC0415

    given, schemas = config.compare, comparison_schemas(config)
    with _reading(config, given.topic, "compare.topic") as topic:
        partitions = len(topic.partitions())
    verdicts = Topic(given.verdict_topic, 1, given.replication_factor, {"cleanup.policy": "compact"})
    Cluster.open(config.kafka.admin_settings()).create([verdicts])
    reader, encoder = PairReader(schemas), VerdictEncoder(verdict_schema_id(config, schemas))
    settings = AppSettings(
        id=f"{config.app.id}-compare",
        servers=config.kafka.bootstrap_servers,
        security=config.kafka.client_settings(),
        topic=given.topic,
        verdict_topic=given.verdict_topic,
        partitions=partitions,
        data_dir=data_dir,
        host=given.host,
        port=given.port,
        replication_factor=given.replication_factor,
        verdict_interval_s=given.verdict_interval_s,
    )
    return CompareApp(
        settings=settings,
        criteria=criteria_of(config),
        ledger=ledger_of(config),
        read=reader.read,
        encode=encoder.encode,
        labels=_label_follower(config) if given.is_labelled else None,
    )


def _label_follower(config: Config) -> LabelFollower:
    source = _label_source(config)
    source.take()  # what cannot be read is said now
    topic = _open(config, config.compare.topic, "compare.topic")
    comparisons = TopicPairs(topic, PairReader(comparison_schemas(config)))
    return LabelFollower(source, comparisons, lambda: LabelLedger(*_kept(config)))
