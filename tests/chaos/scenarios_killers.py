"""Records that kill whoever works on them."""

from __future__ import annotations

import time
from random import Random

from load.events import FEATURES, HOSTS, host
from tests.chaos.killers import STAGES, WAYS, mark, plant
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.kafka.deployment import encode

__all__: list[str] = []

_WITHIN_S = 400.0


@scenario(
    "killers",
    faults=tuple(f"a record that kills by {way} in {stage}" for stage in STAGES for way in WAYS),
    workers=2,
    partitions=4,
    rate=800.0,
    patches=(f"{plant.__module__}:{plant.__name__}",),
    settings={"quarantine": {"deaths": 1, "memory_bytes": 400 << 20, "timeout_s": 4.0}},
)
def killers(rig: Rig, random: Random) -> None:
    """One or two records at a time that kill the process, each way and in each stage, among good events."""
    kinds = [(stage, way) for stage in STAGES for way in WAYS]
    turn = random.sample(kinds, len(kinds))
    while rig.goes_on():
        sent = []
        for _ in range(random.choice((1, 1, 2))):
            stage, way = turn.pop() if turn else random.choice(kinds)
            rig.fault(f"a record that kills by {way} in {stage}")
            sent.append(_send(rig, random, stage, way))
        _wait_rejected(rig, sent)


def _send(rig: Rig, random: Random, stage: str, way: str) -> int:
    """Send a killer of an entity that has other events: its own must leave no trace in the state."""
    number = random.randrange(HOSTS)
    event = encode(
        host(number),
        time.time_ns() // 1_000_000,
        [random.random() for _ in FEATURES],
        mark(stage, way, number),
    )
    return rig.ledger.inject(event.value, number % rig.options.partitions, deadly=True)


def _wait_rejected(rig: Rig, numbers: list[int]) -> None:
    """Wait until the group is past these records; workers that they kill are started again, as a supervisor would."""
    deadline = time.monotonic() + _WITHIN_S
    began = time.monotonic()
    while not _past(rig, numbers):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the group is not past the records that kill after {_WITHIN_S:g} s")
        for slot, worker in enumerate(rig.workers):
            if not worker.alive and (worker.process.poll() or 0) < 0:
                rig.restart(slot)
        rig.wait(0.2)
    rig.measure("killer to reject, s", time.monotonic() - began)


def _past(rig: Rig, numbers: list[int]) -> bool:
    acked = rig.ledger.acked
    known = [
        i for i in range(max(0, len(acked.number) - 100_000), len(acked.number)) if acked.number[i] in numbers
    ]
    if len(known) < len(numbers):
        return False
    committed, _ = rig.progress()
    return all(committed.get(acked.partition[i], 0) > acked.offset[i] for i in known)
