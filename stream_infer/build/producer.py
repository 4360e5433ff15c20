"""From settings to those of the producer."""

from __future__ import annotations

from typing import Any

from stream_infer.config import Config
from stream_infer.delivery.settings import producer_settings

__all__ = ["producer_of"]


def producer_of(config: Config, slot: str | None, linger_ms: int = 0) -> dict[str, Any]:
    """Settings of the producer with the transactional id of this slot, or of one without transactions.

    ``linger_ms`` is for those that write records.
    """
    kafka = config.kafka
    return producer_settings(
        kafka.client_settings(),
        kafka.producer_settings(),
        None if slot is None else f"{config.app.id}-{slot}",
        config.delivery.transaction_timeout_ms,
        linger_ms=linger_ms,
    )
