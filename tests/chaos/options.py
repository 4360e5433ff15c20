"""How a run is set up, and what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "Options", "Start", "settings_of"]


@dataclass(frozen=True)
class Options:
    """How a run is set up; ``settings`` are sections of the workers' settings file.

    ``lane``: the way of records through the workers (``kafka.lane``). ``points``: the failpoints to be struck, all if
    empty. ``haste`` divides the time between faults. ``short_timeouts``: those of transactions, sessions and polls are
    a few seconds, so that a run sees many of them pass; else they are the product's own. ``proxied``: the workers are
    behind the proxies of the cluster's network, as clients ``slot-N.consumer`` and so on.
    """

    seed: int
    protocol: str = "consumer"
    duration_s: float = 60.0
    workers: int = 3
    partitions: int = 6
    rate: float = 3_000.0
    poison: float = 0.01
    slots: bool = True
    patches: tuple[str, ...] = ()
    forked: bool = True
    mutant: str = ""
    lane: str = "auto"
    points: tuple[str, ...] = ()
    haste: float = 1.0
    short_timeouts: bool = True
    proxied: bool = False
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """Something done to the system, ``at_s`` (wall clock) after the epoch."""

    at_s: float
    kind: str
    target: str


@dataclass
class Start:
    """A worker about to start: what ``Rig.before_start`` may still change."""

    slot: int
    environment: dict[str, str]


def settings_of(options: Options) -> dict[str, dict[str, Any]]:
    """The sections of the workers' settings file."""
    consumer: dict[str, Any] = {}
    merged: dict[str, dict[str, Any]] = {
        "kafka": {"group_protocol": options.protocol, "lane": options.lane},
        "kafka.consumer": consumer,
        "batch": {"max_events": 1000},
    }
    if options.short_timeouts:
        merged["delivery"] = {"transaction_timeout_ms": 5_000}
        if options.protocol == "classic":  # with the other protocol the session is the brokers' affair
            consumer |= {"session.timeout.ms": 3_000, "heartbeat.interval.ms": 500}
            consumer["max.poll.interval.ms"] = 8_000
    for section, values in options.settings.items():
        merged.setdefault(section, {}).update(values)
    # [kafka] must come before [kafka.consumer], or TOML sees it twice
    return dict(sorted(merged.items()))
