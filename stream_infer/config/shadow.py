"""A candidate model beside the worker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from stream_infer.config.kafka import Section
from stream_infer.config.model import PathOrAddress
from stream_infer.priority import Priority

__all__ = ["Place", "Shadow", "place"]

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]

Kind = Literal["earliest", "latest", "primary", "offset", "time"]
_WORDS: dict[str, Kind] = {"earliest": "earliest", "latest": "latest", "primary": "primary"}


class Place(NamedTuple):
    """A place in the input; ``value`` is an offset, or a time in epoch ms."""

    kind: Kind
    value: int = 0


def place(text: int | str) -> Place:
    """What a text says of a place. Raises ValueError, which says what may be written."""
    if isinstance(text, int) or text.strip().isdecimal():
        if int(text) < 0:
            raise ValueError("an offset is not negative")
        return Place("offset", int(text))
    if text in _WORDS:
        return Place(_WORDS[text])
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            "must be latest, earliest, primary (where the worker is), an offset, "
            "or a time such as 2026-11-01T00:00Z"
        ) from None
    moment = time if time.tzinfo else time.replace(tzinfo=UTC)
    return Place("time", int(moment.timestamp() * 1000))


class Shadow(Section):
    """A candidate model beside the worker, compared with it event by event by `stream-infer shadow`."""

    id: Name = Field(json_schema_extra={"derived": "<app.id>-shadow"})
    """Name of this shadow: its consumer group and the prefix of its transactional ids; one for each that runs."""
    model: Path | None = None
    """Folder of a candidate that stays, made by `stream-infer train`. Neither set: there is no shadow."""
    source: PathOrAddress | None = None
    """A model and an alias to follow in its place: `models/detector@challenger` or `models:/detector@challenger`.
    Address and login of the registry, `poll_interval_s` and `cache_dir` are those of [model]."""
    comparison_topic: TopicName = Field(json_schema_extra={"derived": "<input.topic>.compared"})
    """Topic of the comparisons; several shadows may share it. Partitions as the input's."""
    state_topic: TopicName = Field(json_schema_extra={"derived": "<app.id>-shadow.state"})
    """Compacted topic of the shadow's own entity state, by default `<shadow.id>.state`. Partitions as the input's."""
    start: int | str = "latest"
    """Where a new shadow starts: `latest`, `earliest`, `primary` (where the worker is), an offset, or a time such as
    `2026-11-01T00:00Z`. Later its committed offsets count alone."""
    warm_up_events: int = Field(default=20_000, ge=0, le=100_000_000)
    """So many events before the start are read in each partition to fill windows, before the first pair."""
    held_bytes: int = Field(default=134_217_728, ge=1_048_576)
    """Memory of the events that wait for the other side. The side that is ahead is paused when its share is full."""
    commit_interval_ms: int = Field(default=1000, ge=0, le=60_000)
    """So long pairs are gathered for one transaction, and records for one fetch: nobody waits for a comparison, while
    many small requests are work for the brokers that the worker has to wait for. 0: at once, as the worker."""
    device: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """Where the candidate runs."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of one inference on the CPU."""
    priority: Priority = "idle"
    """On a machine shared with the worker: `idle` computes only where nobody else would, `low` (niceness 19) gets a
    little of a full machine, too, `normal` competes with the worker."""
    restart_pause_s: float = Field(default=300.0, ge=0, le=3600)
    """One that dies again and again starts twice at once and then once in so many seconds, whoever starts it: a start
    takes CPU from a worker on the same machine. Runs that are stopped do not count. 0: never waits."""
    port: int = Field(default=8081, ge=0, le=65_535)
    """Port of its control server (the address is `control.host`); 0 takes any free one."""

    @property
    def is_set(self) -> bool:
        """Whether there is a shadow at all."""
        return self.model is not None or self.source is not None

    @model_validator(mode="after")
    def _one_candidate(self) -> Self:
        if self.model is not None and self.source is not None:
            raise ValueError(
                "set one of shadow.model (a folder) and shadow.source (a model and an alias to follow)"
            )
        return self

    @field_validator("start")
    @classmethod
    def _known(cls, start: int | str) -> int | str:
        place(start)
        return start
