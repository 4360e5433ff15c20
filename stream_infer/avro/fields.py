"""Which fields of an event decode wants."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.errors import ConfigError

__all__ = ["Fields"]


@dataclass(frozen=True, slots=True)
class Fields:
    """What decode takes from an event; every name is a dotted path through records.

    ``features`` is the path of one array of numbers, or one path per feature in the model's order;
    ``feature_count`` is the model's. ``entity`` None stands for the message key, ``time`` None for the
    record's timestamp, ``event_id`` None for topic-partition-offset.
    Raises ConfigError where the settings contradict each other.
    """

    features: str | tuple[str, ...]
    feature_count: int
    entity: str | None
    time: str | None
    event_id: str | None
    max_event_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        if self.feature_count < 1:
            raise ConfigError("input.features: the model must have at least one feature")
        if isinstance(self.features, tuple) and len(self.features) != self.feature_count:
            raise ConfigError(
                f"input.features names {len(self.features)} fields, but the model takes {self.feature_count};"
                " list one field per feature, in the model's order"
            )
        for path in self.paths:
            if not all(path.split(".")):
                raise ConfigError(
                    f"input: {path!r} is not a field path; write names joined by dots, as in a.b"
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """Every wanted path."""
        features = (self.features,) if isinstance(self.features, str) else self.features
        return features + tuple(path for path in (self.entity, self.time, self.event_id) if path is not None)
