"""The topics of a worker: what each must be like, and what is wrong with those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_infer.cluster import Topic

__all__ = ["GROUP_SETTINGS", "Plan", "Role", "faults"]

GROUP_SETTINGS = {
    "consumer.session.timeout.ms": "3000",
    "consumer.heartbeat.interval.ms": "100",
    "consumer.assignment.interval.ms": "0",
}
"""Of a group with the consumer protocol. Its session is the outage after a kill -9 (brokers have 45 s by default). Its
heartbeat is how long a partition that moves has no owner (5 s by default). The interval is how long those of a dead
worker go on waiting because somebody has just joined (1 s by default, from Kafka 4.3 on)."""

STATE = {"cleanup.policy": "compact", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.2"}
"""Of a state topic. Small segments are compacted soon, so that a restore reads little more than the entities."""

REJECT_HEADROOM_BYTES = 65_536
"""A reject is its record and some headers: it must fit where the record did."""


@dataclass(frozen=True)
class Role:
    """What a topic is for: the setting that names it, and the topic's settings."""

    setting: str
    name: str
    config: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """The topics that a worker writes, and those of its shadow if it has one, to fit the one they read."""

    scored: str
    rejects: str
    state: str
    comparison: str | None = None
    shadow_state: str | None = None

    def roles(self, source: Topic) -> list[Role]:
        """Return what the topics must be like beside this input topic."""
        largest = int(source.config.get("max.message.bytes", 1_048_588)) + REJECT_HEADROOM_BYTES
        roles = [
            Role("output.scored_topic", self.scored, {}),
            Role("output.reject_topic", self.rejects, {"max.message.bytes": str(largest)}),
            Role("state.topic", self.state, STATE),
        ]
        if self.comparison is not None:
            roles.append(
                Role("shadow.comparison_topic", self.comparison, {"max.message.bytes": str(largest)})
            )
        if self.shadow_state is not None:
            roles.append(Role("shadow.state_topic", self.shadow_state, STATE))
        return roles


def faults(role: Role, source: Topic, found: Topic) -> list[str]:
    """Say what keeps this topic from its role, in a sentence each; nothing where it fits."""
    said = []
    if found.partition_count != source.partition_count:
        said.append(
            f"{role.setting} = {found.name} has {found.partition_count} partitions, but input.topic = "
            f"{source.name} has {source.partition_count}"
        )
    policy = found.config.get("cleanup.policy", role.config.get("cleanup.policy", ""))
    if role.config.get("cleanup.policy") == "compact" and policy != "compact":
        said.append(
            f"{role.setting} = {found.name} has cleanup.policy = {policy}: old entities would be lost; "
            "it must be compact"
        )
    largest = role.config.get("max.message.bytes")
    if largest and int(found.config.get("max.message.bytes", largest)) < int(largest):
        said.append(
            f"{role.setting} = {found.name} takes messages of {found.config['max.message.bytes']} bytes: what is "
            f"said of the longest event needs max.message.bytes = {largest}"
        )
    return said
