"""From settings to a lane."""

from __future__ import annotations

from stream_infer.config import Config
from stream_infer.delivery.lane import Lane, Refusal
from stream_infer.errors import ConfigError

__all__ = ["lane_of"]


def lane_of(config: Config) -> Lane:
    """The lane that ``kafka.lane`` asks for. Raises ConfigError where the native one is asked for and cannot be had."""
    try:
        return Lane.choose(config.kafka.lane)
    except Refusal as refusal:
        raise ConfigError(
            f'kafka.lane = "native" cannot be used here: {refusal}. Cure: "auto", which takes the ordinary lane then'
        ) from refusal
