"""Capacity: from a rate to partitions, workers, brokers, state and times, and what breaks first.

Costs are measured (costs.py). Limits of brokers and networks are assumptions, each named in ``Limits``; change them to
your own. Nothing here is rounded in the direction of what one would like: a part of a worker is a worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from load.autoencoder import flops_of
from load.costs import Costs

__all__ = ["Limits", "Need", "Strain", "Workload", "need", "one_machine_per_s", "strains"]

_SCORED_BYTES = 190
_RUNNING = 5
_RECORD_HEAD_BYTES = 40
_RECORD_BATCH_BYTES = 70
_FLUSH_S = 10.0
_PACED_MOST_PER_S = 30_000


@dataclass(frozen=True)
class Workload:
    """What is asked of it.

    ``event_bytes``: size of a payload with its key. ``flops`` of the model per event. ``gpu_events_per_s``: what the
    stage was measured to do on one GPU (``python -m load gpu``); None: the model runs on the workers' CPUs.
    """

    events_per_s: float
    event_bytes: int = 200
    features: int = 38
    window: int = 5
    terms: int = 1
    flops: float = float(flops_of(38))
    entities: int = 1_000_000
    gpu_events_per_s: float | None = None

    @property
    def entity_floats(self) -> int:
        """Float32 values of one entity's row that training never saw (windows/layout.py)."""
        return (max(self.window - 1, 1) + 2 * self.terms + _RUNNING) * self.features + 1

    @property
    def state_record_bytes(self) -> int:
        """One entity in the state topic."""
        return 4 * self.entity_floats + _RECORD_HEAD_BYTES + _RECORD_BATCH_BYTES


@dataclass(frozen=True)
class Limits:
    """Assumptions. ``busy``: share of a core that is used in the long run; the rest is for catching up and rebalances.

    ``replication``: copies of each record. ``broker_bytes_per_s``: what one broker takes in from producers and other
    brokers together. ``broker_cores``. ``partition_bytes_per_s``: of one partition of the input. ``brokers``,
    ``partitions``: of one cluster; ``group_members``: of one group. ``transactions_per_s``: of one worker under load,
    by its commit interval of 100 ms; at low rates up to ``transactions_per_s_max``. ``cluster_transactions_per_s``:
    what the coordinators of one cluster take. ``restore_target_s``. ``worker_memory_bytes``.
    """

    busy: float = 0.6
    replication: int = 3
    broker_bytes_per_s: float = 150e6
    broker_cores: float = 8.0
    partition_bytes_per_s: float = 10e6
    brokers: int = 100
    partitions: int = 200_000
    group_members: int = 1_000
    transactions_per_s: float = 10.0
    cluster_transactions_per_s: float = 20_000.0
    restore_target_s: float = 60.0
    worker_memory_bytes: float = 8e9


@dataclass(frozen=True)
class Need:
    """What it takes. ``partitions`` are the input's; as many each have the scored, the reject and the state topic.

    ``core_share``: of its core that a worker uses; at low rates that is more than events alone ask for, since each of
    their batches is a transaction. ``in_bytes_per_s`` and ``out_bytes_per_s``: all that brokers take in, replicas
    included, and give out.
    ``restore_s``: of one worker's share of the entities. ``gpus``: None where the model runs on CPUs.
    """

    event_us: float
    events_per_worker: float
    core_share: float
    workers: int
    partitions: int
    gpus: int | None
    state_bytes: float
    state_bytes_per_worker: float
    state_bytes_per_s: float
    in_bytes_per_s: float
    out_bytes_per_s: float
    brokers: int
    transactions_per_s: float
    restore_s: float


@dataclass(frozen=True)
class Strain:
    """How much of a limit is used: over 1 it breaks."""

    what: str
    share: float
    cure: str


def need(load: Workload, costs: Costs, limits: Limits = Limits()) -> Need:
    """What a workload takes. A worker is one process on one core, bound by its CPU."""
    on_gpu = load.gpu_events_per_s is not None
    event_us = costs.stages_us(load.features) + (0.0 if on_gpu else costs.model_us(load.flops))
    per_worker = limits.busy * 1e6 / event_us
    workers = max(math.ceil(load.events_per_s / per_worker), 1)
    state_bytes = load.entities * costs.entity_bytes * load.entity_floats / Workload(0).entity_floats
    # Each entity that changed is written once per flush interval at most.
    state_records_per_s = min(load.events_per_s, load.entities / _FLUSH_S)
    state_bytes_per_s = state_records_per_s * load.state_record_bytes
    taken_in = load.events_per_s * (load.event_bytes + _SCORED_BYTES) + state_bytes_per_s
    by_bytes = math.ceil(load.events_per_s * load.event_bytes / limits.partition_bytes_per_s)
    in_bytes_per_s = taken_in * limits.replication
    broker_cores = load.events_per_s * costs.broker_us / 1e6 * limits.replication / limits.busy
    return Need(
        event_us=event_us,
        events_per_worker=load.events_per_s / workers,
        core_share=_core_us_per_s(load.events_per_s / workers, event_us, costs) / 1e6,
        workers=workers,
        partitions=max(2 * workers, by_bytes),
        gpus=math.ceil(load.events_per_s / load.gpu_events_per_s) if load.gpu_events_per_s else None,
        state_bytes=state_bytes,
        state_bytes_per_worker=state_bytes / workers,
        state_bytes_per_s=state_bytes_per_s,
        in_bytes_per_s=in_bytes_per_s,
        # To followers, to the workers, and the scored events once to whoever reads them.
        out_bytes_per_s=taken_in * (limits.replication - 1)
        + load.events_per_s * (load.event_bytes + _SCORED_BYTES),
        brokers=max(
            limits.replication,
            math.ceil(in_bytes_per_s / limits.broker_bytes_per_s),
            math.ceil(broker_cores / limits.broker_cores),
        ),
        transactions_per_s=workers * limits.transactions_per_s,
        restore_s=_restore_s(load, costs, workers),
    )


def one_machine_per_s(workers: int, cores: int, worker_us: float, broker_us: float) -> float:
    """Events a second at most of workers that share a machine with their broker, each worker bound to one core.

    ``worker_us``, ``broker_us``: CPU of each per event. A worker does no more than one core gives, 1 / worker_us; all
    together, broker included, no more than the machine gives, cores / (worker_us + broker_us).
    """
    return 1e6 * min(workers / worker_us, cores / (worker_us + broker_us))


def strains(found: Need, limits: Limits = Limits()) -> list[Strain]:
    """How near each limit is, the nearest first: the first over 1 is what breaks first as the rate grows."""
    all_partitions = 4 * found.partitions * limits.replication
    listed = [
        Strain(
            "members of one consumer group",
            found.workers / limits.group_members,
            "several deployments, each with an input topic of its own (split by entity)",
        ),
        Strain("brokers of one cluster", found.brokers / limits.brokers, "several clusters, split by entity"),
        Strain(
            "partitions of one cluster, replicas included",
            all_partitions / limits.partitions,
            "several clusters, split by entity",
        ),
        Strain(
            "transactions per second of the cluster",
            found.transactions_per_s / limits.cluster_transactions_per_s,
            "a longer delivery.commit_interval_ms",
        ),
        Strain(
            "time to restore a worker",
            found.restore_s / limits.restore_target_s,
            "more workers than the rate needs",
        ),
        Strain(
            "memory of a worker",
            found.state_bytes_per_worker / limits.worker_memory_bytes,
            "more workers than the rate needs, state.idle_ttl_s, or a smaller window",
        ),
    ]
    return sorted(listed, key=lambda one: one.share, reverse=True)


def _core_us_per_s(events_per_s: float, event_us: float, costs: Costs) -> float:
    under_load = events_per_s * event_us
    return (
        max(under_load, costs.paced_us_per_s(events_per_s))
        if events_per_s <= _PACED_MOST_PER_S
        else under_load
    )


def _restore_s(load: Workload, costs: Costs, workers: int) -> float:
    """Of one worker's share; records of other sizes take time in proportion."""
    larger = load.state_record_bytes / Workload(0).state_record_bytes
    return costs.restore_s(load.entities / workers * larger)
