"""The server.properties of an embedded broker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_infer.embedded.ports import HOST

__all__ = ["Node", "server_properties"]


@dataclass(frozen=True)
class Node:
    """One combined broker and controller.

    ``advertised`` (host:port) is where clients reach its second listener, on ``inner_port``, through something in
    between.
    """

    number: int
    broker_port: int
    controller_port: int
    inner_port: int = 0
    advertised: str = ""

    @property
    def name(self) -> str:
        """The name of its process, its directory and its log."""
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"{HOST}:{self.broker_port}"

    @property
    def inner_address(self) -> str:
        """Where what is in between reaches it."""
        return f"{HOST}:{self.inner_port}"


def server_properties(node: Node, cluster: Sequence[Node], log_dir: str, settings: Mapping[str, str]) -> str:
    """The file for ``node`` of ``cluster``; ``settings`` are broker settings that replace those given here."""
    copies = min(3, len(cluster))
    lines: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in cluster),
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": log_dir,
        # A killed broker may come back with what it has: where it is the only one, nobody has more, and its partitions
        # would have no leader for ever.
        "unclean.leader.election.enable": str(copies == 1).lower(),
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "default.replication.factor": copies,
        "min.insync.replicas": max(1, copies - 1),
        # Internal topics: a few partitions are created in a blink, and loaded in a blink after a restart.
        "offsets.topic.num.partitions": 5,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 5,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": max(1, copies - 1),
        "share.coordinator.state.topic.num.partitions": 3,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": max(1, copies - 1),
        # No waiting for members that might join, and quick answers of a group whose members come and go.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.min.heartbeat.interval.ms": 100,
        # The outage after a kill -9: the default session of 45 s is for members across oceans.
        "group.consumer.session.timeout.ms": 6000,
        "group.consumer.heartbeat.interval.ms": 1000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # A dead broker is noticed after this long, and its partitions move; where there is nowhere to go, one that was
        # only kept from its heartbeats by a busy machine should not lose them.
        "broker.session.timeout.ms": 3000 if copies > 1 else 9000,
        "broker.heartbeat.interval.ms": 500,
        "controlled.shutdown.enable": "true",
        # Files: small segments, and index files that are not preallocated to 10 MB a piece.
        "log.segment.bytes": 128 * 1024 * 1024,
        "log.index.size.max.bytes": 1024 * 1024,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.cleaner.threads": 1,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.partitions": 1,
    }
    if node.advertised:
        lines["listeners"] = f"{lines['listeners']},OUTER://{node.inner_address}"
        lines["advertised.listeners"] = f"{lines['advertised.listeners']},OUTER://{node.advertised}"
        lines["listener.security.protocol.map"] = f"{lines['listener.security.protocol.map']},OUTER:PLAINTEXT"
        lines["inter.broker.listener.name"] = "PLAINTEXT"
    lines.update(settings)
    return "".join(f"{name}={value}\n" for name, value in lines.items())
