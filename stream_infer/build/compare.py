"""From settings to what compares: criteria, statistics, labels, readers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.registry import Registry
from stream_infer.avro.source import SchemaSource, SingleSchema
from stream_infer.cluster import Cluster, Topic
from stream_infer.comparison.labels import Labels
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.pairs import Pairs
from stream_infer.comparison.reading import PairReader
from stream_infer.comparison.segments import Segments
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
    "label_record",
    "labels_of",
    "ledger_of",
    "pairs_of_topic",
    "records_of_topic",
    "verdict_news",
    "verdict_schema_id",
]

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_CHUNK = 10_000
_FRAME_BYTES = 5


def criteria_of(config: Config) -> Criteria:
    """Return the criteria of the verdict."""
    given = config.compare
    return Criteria(
        minimum_events=given.minimum_events,
        min_agreement=given.min_agreement or None,
        max_rate_change=given.max_rate_change if given.max_rate_change < 1 else None,
        max_latency_ratio=given.max_latency_ratio or None,
        labelled=given.labels is not None or given.labels_topic is not None,
        alpha=given.alpha,
    )


def ledger_of(config: Config) -> Ledger:
    """Return an empty ledger."""
    given = config.compare
    windows = Windows(block_s=given.block_s, minutes=given.minutes, hours=given.hours)
    return Ledger(windows, Segments(given.rules, given.entities))


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
    labels = Labels()
    if config.compare.labels is not None:
        labels.read(config.compare.labels)
    if config.compare.labels_topic is not None:
        schemas, unreadable = comparison_schemas(config), 0
        with _reading(config, config.compare.labels_topic, "compare.labels_topic") as reader:
            for messages in reader.chunks(reader.spans()):
                unreadable += sum(
                    not labels.add(label_record(message.value(), schemas)) for message in messages
                )
        if unreadable:
            logger.warning("compare.labels_topic unreadable=%d", unreadable)
    return labels


def label_record(value: Any, schemas: SchemaSource) -> dict[str, Any]:
    """Read one label, JSON or Avro in the wire format; empty where it is neither."""
    import fastavro  # noqa: PLC0415 (labels are rarely in Avro)

    try:
        if value[:1] == b"\0" and schemas.framed:
            text = schemas.get(int.from_bytes(value[1:_FRAME_BYTES], "big")).text
            found = fastavro.schemaless_reader(_body(value), fastavro.parse_schema(json.loads(text)), None)
        else:
            found = json.loads(value)
    except (ValueError, TypeError, EOFError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def pairs_of_topic(config: Config, topic: str, reader: PairReader) -> Iterator[Pairs]:
    """Yield what is in a comparison topic now, partition by partition in offset order."""
    for chunk in _chunks(config, topic):
        partition = np.array([one.partition() for one in chunk], np.int32)
        offset = np.array([offset_of(one) for one in chunk], np.int64)
        yield reader.read(partition, offset, [one.value() or b"" for one in chunk])


def records_of_topic(
    config: Config, topic: str, reader: PairReader
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield what is in a comparison topic now: partition, offset, the record."""
    for chunk in _chunks(config, topic):
        for message in chunk:
            yield message.partition(), offset_of(message), reader.record(message.value())


def _chunks(config: Config, topic: str) -> Iterator[list[Any]]:
    with _reading(config, topic, "compare.topic") as reader:
        chunk: list[Any] = []
        for messages in reader.chunks(reader.spans()):
            chunk += messages
            if len(chunk) >= _CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


@contextmanager
def _reading(config: Config, topic: str, setting: str) -> Iterator[TopicReader]:
    kafka = config.kafka
    reader = TopicReader.open(kafka.client_settings(), kafka.consumer_settings(), topic, setting, _TIMEOUT_S)
    try:
        yield reader
    finally:
        reader.close()


def _body(value: bytes) -> Any:
    import io  # noqa: PLC0415

    return io.BytesIO(value[_FRAME_BYTES:])


def compare_app(config: Config, data_dir: str) -> CompareApp:
    """Make the analysts' app. Asks the brokers for the topic; raises BrokerError, RegistryError, ConfigError."""
    from stream_infer.comparison.app import AppSettings, CompareApp  # noqa: PLC0415 (part of an extra)

    given, schemas, labels = config.compare, comparison_schemas(config), labels_of(config)
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
        read=lambda partition, offset, values: labels.apply(reader.read(partition, offset, values)),
        encode=encoder.encode,
    )
