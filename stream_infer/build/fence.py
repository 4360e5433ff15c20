"""Ends what a dead worker of the same slot left open, while the one in its place still loads.

The open transaction of a dead worker hides all that is written behind it, by whomever, until its transactional id is
asked for again; and a worker needs a second or two before it comes to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaException

from stream_infer.build.producer import producer_of
from stream_infer.config import Config
from stream_infer.delivery.delivery import Outbox

__all__ = ["fence"]


@contextmanager
def fence(config: Config) -> Iterator[None]:
    """Ask for the slot's transactional id in the background; the worker's own producer asks again in any case.

    Nothing is raised: whatever is wrong is met again by those who say what.
    """
    delivery = config.delivery
    if delivery.mode != "exactly_once" or delivery.slot is None:
        yield
        return
    outbox = Outbox(producer_of(config, delivery.slot), delivery.transaction_timeout_ms / 1000)
    with suppress(KafkaException):
        outbox.open()
        outbox.producer.init_transactions(0)  # comes back at once, and goes on in the client's own threads
    try:
        yield
    finally:
        outbox.close()
