"""librdkafka settings of the worker's clients, each with its reason.

Users may override any of them that is not unsafe; the ones in ``*_FIXED`` carry the delivery promise and are put
on top last.
"""

from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["Settings", "consumer_settings", "producer_settings", "reader_settings"]

Settings = Mapping[str, Any]
"""librdkafka settings by their names there."""

GroupProtocol = Literal["classic", "consumer"]

_COMMON: dict[str, Any] = {
    # With the default (rebootstrap) send_offsets_to_transaction() may never return once all brokers were gone.
    "metadata.recovery.strategy": "none",
    # A partition that had no leader when metadata was last read is asked for again after this; the default, five
    # minutes, is how long a consumer was seen to stall after a clean broker restart.
    "topic.metadata.refresh.interval.ms": 5_000,
    "socket.nagle.disable": True,
    "socket.timeout.ms": 10_000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 1_000,
    "retry.backoff.ms": 1,
    "retry.backoff.max.ms": 100,
    "log.connection.close": False,
}

_CONSUMER: dict[str, Any] = {
    "check.crcs": True,
    "fetch.queue.backoff.ms": 2,  # the default, a second, stalls a drain for most of that second
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 1_048_576,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16_384,  # per partition; the default is 64 MiB
    "max.poll.interval.ms": 120_000,
}

_CONSUMER_FIXED: dict[str, Any] = {
    "enable.auto.commit": False,  # offsets belong to the transaction
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",  # also makes OffsetFetch wait for offsets that are in doubt
    "auto.offset.reset": "error",  # where to start is the worker's decision, never the client's
    "enable.partition.eof": False,
}

# The session time-out is the outage after a kill -9; librdkafka's default is 45 s, brokers take no less than 6 s. A
# partition that moves has no owner until the new one's next heartbeat. KIP-848 has both on the broker.
_CLASSIC: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 500,
}

# A reader is in no group, but the client holds its time-outs against each other as if it were in a `classic` one: those
# of [kafka.consumer] are for the worker, and for its protocol.
_NO_MEMBER: dict[str, Any] = {"max.poll.interval.ms": 120_000, "session.timeout.ms": 6_000}

_PRODUCER: dict[str, Any] = {
    "batch.num.messages": 10_000,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": 100_000_000,  # whatever was consumed can be rejected with its bytes
    "sticky.partitioning.linger.ms": 0,
}

_PRODUCER_FIXED: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "delivery.report.only.error": True,
}


def consumer_settings(
    connection: Settings, extra: Settings, group: str, protocol: GroupProtocol, slot: str = ""
) -> dict[str, Any]:
    """Settings of the input consumer. ``slot``: a name that the member keeps when it is started again."""
    membership = dict(_CLASSIC) if protocol == "classic" else {}
    if slot and protocol == "classic":
        # Whoever starts again in its slot gets its partitions at once. KIP-848 lets nobody in before the session of the
        # dead one is over, which is worse than a member without a name.
        membership["group.instance.id"] = slot
    return {
        **_COMMON,
        **_CONSUMER,
        **membership,
        **connection,
        **extra,
        **_CONSUMER_FIXED,
        "group.id": group,
        "group.protocol": protocol,
    }


def producer_settings(
    connection: Settings,
    extra: Settings,
    transactional_id: str | None,
    transaction_timeout_ms: int,
    *,
    linger_ms: int = 5,
) -> dict[str, Any]:
    """Settings of the worker's one producer; without a transactional id it is only idempotent.

    ``linger_ms`` is the lane's, unless users say otherwise.
    """
    # A record must fail before the transaction does, or the failure is a fenced producer instead of an error.
    # librdkafka takes no socket time-out that is longer than the transaction's.
    bounded = {
        "message.timeout.ms": int(transaction_timeout_ms * 0.9),
        "socket.timeout.ms": min(_COMMON["socket.timeout.ms"], transaction_timeout_ms),
    }
    settings = {
        **_COMMON,
        **_PRODUCER,
        "linger.ms": linger_ms,
        **bounded,
        **connection,
        **extra,
        **_PRODUCER_FIXED,
    }
    if transactional_id is not None:
        settings["transactional.id"] = transactional_id
        settings["transaction.timeout.ms"] = transaction_timeout_ms
        settings["debug"] = "eos,broker"  # their lines are the only sign of an answer that was lost
    return settings


def linger_ms(*, native: bool) -> int:
    """How long the client of a lane should collect records for a request.

    A flush of confluent-kafka cuts that short, a flush of the native lane waits for it; but there a batch is queued
    in a tenth of a millisecond, so that one is enough.
    """
    return 1 if native else 5


def reader_settings(connection: Settings, extra: Settings, group: str) -> dict[str, Any]:
    """Settings of a consumer that only reads given partitions to their end; it never joins or commits."""
    return {
        **_COMMON,
        **_CONSUMER,
        **connection,
        **extra,
        **_NO_MEMBER,
        **_CONSUMER_FIXED,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": 65_536,
    }
