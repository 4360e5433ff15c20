"""From settings to the topics that a worker needs."""

from __future__ import annotations

from stream_infer.config import Config
from stream_infer.topics import Plan

__all__ = ["plan_of"]


def plan_of(config: Config) -> Plan:
    """The topics of these settings."""
    output, state, shadow = config.output, config.state.topic, config.shadow
    if not shadow.is_set:
        return Plan(output.scored_topic, output.reject_topic, state)
    return Plan(output.scored_topic, output.reject_topic, state, shadow.comparison_topic, shadow.state_topic)
