"""How the clients of the rigs themselves meet a broker that dies, so that what is measured is the worker."""

from __future__ import annotations

from typing import Any

__all__ = ["FAILOVER"]

FAILOVER: dict[str, Any] = {
    "metadata.recovery.strategy": "none",
    "topic.metadata.refresh.interval.ms": 5_000,
    "reconnect.backoff.max.ms": 500,
}
"""Settings of librdkafka, as the worker's own.

With the client's defaults a reader stalls for up to five minutes where a partition had no leader when it asked, and
forgets the brokers that it knew when none of them answers.
"""
