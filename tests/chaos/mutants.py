"""Wrong workers: each breaks one rule of the delivery, and a named scenario must find it out.

A rig that lets one of them pass proves nothing by passing the real worker. A mutant is a patch (``worker.py``);
``finds`` are the checks (``checker.CHECKS``) of which one must speak up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Producer

from stream_infer.delivery.client_log import ClientLog
from stream_infer.delivery.delivery import Undone
from stream_infer.delivery.membership import Membership
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.service import Service

__all__ = ["MUTANTS", "Mutant"]

Patch = Callable[[Service], None]

MUTANTS: dict[str, Mutant] = {}
"""By name."""


@dataclass(frozen=True)
class Mutant:
    """One wrong worker, the scenario that catches it, with which options, and what that must find."""

    name: str
    patch: Patch
    scenario: str
    finds: frozenset[str]
    protocol: str = "classic"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """How CHAOS_PATCHES names it."""
        return f"{self.patch.__module__}:{self.patch.__name__}"

    @property
    def purpose(self) -> str:
        """What is wrong with it."""
        return (self.patch.__doc__ or "").strip()


def _mutant(
    scenario: str, *finds: str, protocol: str = "classic", **options: Any
) -> Callable[[Patch], Patch]:
    def register(patch: Patch) -> Patch:
        name = patch.__name__.replace("_", "-")
        MUTANTS[name] = Mutant(name, patch, scenario, frozenset(finds), protocol, options)
        return patch

    return register


_LONG_TRANSACTIONS = {"delivery": {"commit_interval_ms": 1000}}


@_mutant("worker-kill", "lost", settings=_LONG_TRANSACTIONS)
def commits_before_it_produces(service: Service) -> None:
    """The offsets of a batch are committed before its results are written."""
    worker: Any = service.worker
    publish = worker._publish

    def commit_and_publish(batch: Any, due: Any, *results: Any) -> None:
        if due.any():
            worker._delivery.begin()
            worker._finish()
        publish(batch, due, *results)

    worker._publish = commit_and_publish


@_mutant("join-leave", "doubled", settings={"delivery": {"commit_interval_ms": 2500}})
def does_not_ask_whose_partition_it_is(service: Service) -> None:
    """A revoke changes nothing: what is in hand is committed with whatever metadata the group gives now."""
    worker: Any = service.worker
    worker.revoked = lambda _, *, lost: None


@_mutant("worker-hijack", "lost")
def does_not_rewind(service: Service) -> None:
    """After a delivery that failed the worker goes on where it was."""
    worker: Any = service.worker
    worker._partitions.rewind = lambda _, *, known: None


@_mutant("broker-freeze", "lost", settings={"delivery": {"mode": "at_least_once"}})
def ignores_delivery_errors(service: Service) -> None:
    """Offsets are committed although records failed (in at-least-once mode: a transaction would not let it)."""
    worker: Any = service.worker
    outbox = worker._delivery._outbox
    outbox.check = lambda: None
    outbox.flush = lambda: outbox.producer.flush(0.5)


@_mutant("worker-hijack", "doubled", poison=0.2)
def rejects_outside_of_the_transaction(service: Service) -> None:
    """Rejects are written by a producer of their own."""
    worker: Any = service.worker
    publisher = worker._stages.publisher
    reject = publisher._publish_rejects
    settings = worker._delivery._outbox._settings
    producer = Producer({"bootstrap.servers": settings["bootstrap.servers"], "linger.ms": 0})

    class Aside:
        @staticmethod
        def write_all(topic: str, outgoing: Outgoing) -> list[int]:
            keys, partitions, headers = outgoing.keys_of(), outgoing.partition.tolist(), outgoing.headers_of()
            assert headers is not None, "every reject has some"
            for number, value in enumerate(outgoing.values):
                producer.produce(topic, value, keys[number], partitions[number], headers=headers[number])
            producer.poll(0)
            return []

    publisher._publish_rejects = lambda _, batch, rejects: reject(Aside, batch, rejects)


@_mutant("worker-kill", "doubled")
def commits_the_offset_instead_of_the_next(service: Service) -> None:
    """The committed offset is that of the last event, not of the one after it."""
    worker: Any = service.worker
    commit = worker._delivery.commit

    def commit_one_less(positions: dict[int, int], *rest: Any) -> None:
        commit({p: max(0, offset - 1) for p, offset in positions.items()}, *rest)

    worker._delivery.commit = commit_one_less


@_mutant("network-late", "doubled", "lost", "torn", protocol="consumer")
def keeps_its_producer_after_a_lost_answer(service: Service) -> None:
    """A commit whose answer was lost is followed by the next transaction of the same producer."""
    client_log: Any = ClientLog
    client_log.unanswered_count = 0
    client_log.take_unanswered = lambda _: 0


def _unfenced(worker: Any) -> Callable[[], Membership]:
    group = worker._source._settings["group.id"]
    metadata = b"CGMDv2:" + struct.pack("=i", -1) + group.encode() + b"\0\0\1"
    return lambda: Membership(metadata, group, "", -1)


@_mutant("stall-offsets", "doubled")
def commits_as_no_member(service: Service) -> None:
    """Offsets go in with the metadata of a consumer that uses assign(): the brokers check nothing."""
    worker: Any = service.worker
    worker._source.membership = _unfenced(worker)


@_mutant("stall-commit", "doubled")
def reads_uncommitted(service: Service) -> None:
    """The input is read with read_uncommitted, so that offsets in doubt are not waited for."""
    worker: Any = service.worker
    source = worker._source
    source._settings = {**source._settings, "isolation.level": "read_uncommitted"}


@_mutant("in-doubt", "doubled")
def trusts_its_memory(service: Service) -> None:
    """After any failure positions come from memory; the commit may have happened."""
    worker: Any = service.worker
    go_back = worker._partitions._go_back
    worker._partitions._go_back = lambda *, known: go_back(known=True)


@_mutant("worker-hijack", "lost")
def swallows_a_fence(service: Service) -> None:
    """A commit that failed is taken for one that was done before."""
    worker: Any = service.worker
    commit = worker._delivery.commit

    def commit_or_not(*of: Any) -> None:
        with suppress(Undone):
            commit(*of)

    worker._delivery.commit = commit_or_not


@_mutant("in-doubt", "scores")
def keeps_its_state_when_it_goes_back(service: Service) -> None:
    """After a failed delivery its rows stay in the entities' windows, and come in a second time."""
    worker: Any = service.worker
    worker._partitions._table.undo = lambda: True


@_mutant("worker-kill", "scores", settings={"state": {"flush_interval_s": 20.0, "restore_target_s": 60.0}})
def marks_state_that_it_did_not_write(service: Service) -> None:
    """The marker says that all state is written, whatever is still to be flushed."""
    worker: Any = service.worker
    worker._stages.checkpoint._table.replay_from = lambda _, position: position


@_mutant("worker-kill", "doubled")
def publishes_its_replay(service: Service) -> None:
    """Rows that are read again to rebuild state are published again."""
    worker: Any = service.worker
    worker._partitions._assignment.published = lambda partition, _: np.ones(len(partition), np.bool_)
