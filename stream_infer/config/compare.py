"""How the comparison of primary and shadow is judged and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from stream_infer.config.kafka import Section

__all__ = ["Compare", "parse_segment"]

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class Compare(Section):
    """The comparison of primary and shadow: statistics, and the criteria of the verdict, fixed before the start."""

    topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.compared"})
    """Topic of the comparisons; where not set that of `shadow.comparison_topic`."""
    verdict_topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.verdicts"})
    """Topic of the verdicts: one record whenever a verdict changes. Compacted, keyed by the versions."""
    minimum_events: int = Field(default=10_000, ge=1)
    """No verdict before so many events are compared."""
    min_agreement: float = Field(default=0.98, ge=0, le=1)
    """The candidate must judge this share of events as the primary does. 0: not judged."""
    max_rate_change: float = Field(default=0.01, ge=0, le=1)
    """The candidate's share of anomalies may differ so much from the primary's. 1: not judged."""
    max_latency_ratio: float = Field(default=0.0, ge=0)
    """The candidate's latency may be so many times the primary's. 0: not judged; a shadow follows the primary, so its
    latency holds the primary's as well, and that of a backtest means nothing."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The probability that a wrong verdict is ever given, however often one looks."""
    block_s: int = Field(default=600, ge=1, le=86_400)
    """The unit of evidence: all events of so many seconds together. At least as long as an alert usually lasts."""
    segments: tuple[str, ...] = ()
    """Groups of entities with statistics of their own: a list of `name: pattern pattern …`, as in `web: web-*`."""
    entities: int = Field(default=100, ge=0, le=100_000)
    """So many entities get statistics of their own; of more a fixed sample."""
    minutes: int = Field(default=60, ge=1, le=10_080)
    """So many minutes are kept of each segment."""
    hours: int = Field(default=168, ge=1, le=17_520)
    """So many hours are kept of each segment."""
    labels: Path | None = None
    """Parquet file of labels: `event_id`, or `entity_id` and `ts`, and `label` (1 = anomaly, 0 = none). With labels
    the verdict is about who is right, in the place of agreement and anomaly rate. Read again whenever it changes."""
    labels_topic: TopicName | None = None
    """Topic of labels, the same fields in JSON or Avro. A label may come at any time, and another for the same event
    takes its place (below 0: nobody knows). By `entity_id` and `ts` an event is found sooner than by `event_id`."""
    labels_kept: int = Field(default=1_000_000, ge=1)
    """So many labels of the file, and of the topic, are kept in memory (200 bytes each). What the topic has beyond them
    does not count, which the log says."""
    verdict_interval_s: float = Field(default=10.0, ge=0.1, le=3600)
    """How often `stream-infer compare` looks for a verdict."""
    host: str = "127.0.0.1"
    """Address of the pages of `stream-infer compare`. They have no login."""
    port: int = Field(default=8090, ge=1, le=65_535)
    """Port of those pages."""
    replication_factor: int = Field(default=1, ge=1, le=32)
    """Of the topics in which `stream-infer compare` keeps its tables."""

    @field_validator("segments")
    @classmethod
    def _readable(cls, segments: tuple[str, ...]) -> tuple[str, ...]:
        names = [parse_segment(segment)[0] for segment in segments]
        if len(set(names)) < len(names):
            raise ValueError("names a segment twice")
        return segments

    @property
    def is_labelled(self) -> bool:
        """Whether there are labels."""
        return self.labels is not None or self.labels_topic is not None

    @property
    def rules(self) -> dict[str, tuple[str, ...]]:
        """Name of each segment and its patterns."""
        return dict(parse_segment(segment) for segment in self.segments)


def parse_segment(text: str) -> tuple[str, tuple[str, ...]]:
    """Read ``name: pattern pattern``. Raises ValueError that says the form."""
    name, found, patterns = text.partition(":")
    if not found or not name.strip() or not patterns.split():
        raise ValueError(f"{text!r} is no segment: write 'name: pattern pattern', as in 'web: web-* proxy-?'")
    return name.strip(), tuple(patterns.split())
