"""The producer of a worker with a slot, made while all else still loads.

The open transaction of a dead worker hides all that is written behind it, by whomever, until its transactional id is
asked for again. A worker needs a second or two to load, and a client half of one to find the coordinator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaException

from stream_infer.build.producer import producer_of
from stream_infer.config import Config
from stream_infer.delivery.delivery import Outbox
from stream_infer.delivery.settings import linger_ms

__all__ = ["fence"]


@contextmanager
def fence(config: Config) -> Iterator[Outbox | None]:
    """Ask for the slot's transactional id in the background, and give the producer that did, to be gone on with.

    Nothing is raised: whatever is wrong is met again by whoever goes on. Where the block fails it is closed.
    """
    delivery = config.delivery
    if delivery.mode != "exactly_once" or delivery.slot is None:
        yield None
        return
    settings = producer_of(config, delivery.slot, linger_ms(native=config.kafka.lane != "ordinary"))
    outbox = Outbox(settings, delivery.transaction_timeout_ms / 1000)
    with suppress(KafkaException):
        outbox.open()
        outbox.producer.init_transactions(0)  # comes back at once, and goes on in the client's own threads
    try:
        yield outbox
    except BaseException:
        outbox.close()
        raise
