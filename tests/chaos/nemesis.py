"""The faults themselves: each function does one to a rig, and sees to its end."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from random import Random

from confluent_kafka import KafkaException, Producer

from tests.chaos.cluster import NODES
from tests.chaos.rig import Rig

__all__ = [
    "BROKER",
    "GROUP",
    "SURROUNDINGS",
    "WORKER",
    "Strike",
    "all_brokers_frozen",
    "all_brokers_killed",
    "broker_freeze",
    "broker_kill",
    "broker_restart",
    "clock_jump",
    "disk_full",
    "freeze",
    "freeze_long",
    "hijack",
    "join",
    "kill",
    "kill_all",
    "leave",
    "roll",
    "terminate",
    "twin",
]

Strike = Callable[[Rig, Random], None]
_JOINED_MAX = 2


def kill(rig: Rig, random: Random) -> None:
    """Kill -9 of a worker; it is back soon, or much later."""
    _kill(rig, _victim(rig, random, ends=True), random.choice((0.0, 0.3, 1.0, 4.0)))


def kill_all(rig: Rig, random: Random) -> None:
    """Kill -9 of all workers within a moment."""
    for slot in set(rig.alive()) - rig.spared:
        _kill(rig, slot, random.uniform(0.0, 2.0))


def _kill(rig: Rig, slot: int | None, back_s: float) -> None:
    if slot is None:
        return
    rig.fault("kill -9 of a worker", slot)
    rig.workers[slot].kill()
    rig.later(back_s, lambda: _back(rig, slot))


def freeze(rig: Rig, random: Random) -> None:
    """SIGSTOP of a worker for less than any time-out."""
    _freeze(rig, _victim(rig, random), "SIGSTOP of a worker, under its session", random.uniform(0.2, 2.0))


def freeze_long(rig: Rig, random: Random) -> None:
    """SIGSTOP of a worker past the session, transaction or poll time-out: the others take over, then it wakes."""
    past, longest_s = random.choice((("session", 5.0), ("transaction", 8.0), ("poll", 14.0)))
    seconds = random.uniform(0.75 * longest_s, longest_s)
    _freeze(rig, _victim(rig, random), f"SIGSTOP of a worker, past its {past} time-out", seconds)


def _freeze(rig: Rig, slot: int | None, kind: str, seconds: float) -> None:
    if slot is None:
        return
    worker = rig.workers[slot]
    rig.fault(kind, f"{slot} for {seconds:.1f} s")
    worker.pause()
    rig.later(seconds, worker.resume)


def terminate(rig: Rig, random: Random) -> None:
    """SIGTERM of a worker, at times twice, at times killed while it drains; it is back at once."""
    slot = _victim(rig, random, ends=True)
    if slot is None:
        return
    worker = rig.workers[slot]
    rig.fault("SIGTERM of a worker", slot)
    worker.signal(signal.SIGTERM)
    rig.stopping.add(worker.pid)
    again = random.random()
    if again < 0.2:
        rig.later(random.uniform(0.0, 0.3), lambda: worker.signal(signal.SIGTERM))
    elif again < 0.4:
        rig.later(random.uniform(0.0, 0.3), worker.kill)
    rig.later(1.0, lambda: _back(rig, slot))


def hijack(rig: Rig, random: Random) -> None:
    """Another producer takes the transactional id of a worker: what is open is aborted, the worker is fenced."""
    slot = _victim(rig, random)
    if slot is None:
        return
    rig.fault("a second producer with the transactional id", slot)
    thief = Producer(
        {
            "bootstrap.servers": rig.cluster.servers,
            "transactional.id": f"{rig.deployment.app}-{slot}",
            "log_level": 0,
            "error_cb": lambda _: None,
        }
    )
    with suppress(KafkaException):
        thief.init_transactions(3)
    with warnings.catch_warnings():  # it may still be about to begin, and says so
        warnings.simplefilter("ignore", RuntimeWarning)
        thief.close(0)


def twin(rig: Rig, random: Random) -> None:
    """A second process with the transactional id of a worker, for seconds: they fence each other in turn."""
    slot = _victim(rig, random)
    if slot is None or rig.count > rig.options.workers + _JOINED_MAX:
        return
    rig.fault("a second process with the transactional id", slot)
    extra = _free(rig)
    rig.start(extra, DELIVERY__SLOT=str(slot))
    rig.later(random.uniform(4.0, 8.0), lambda: _end(rig, extra, signal.SIGKILL))


def join(rig: Rig, random: Random) -> None:
    """One more worker joins, for seconds; it leaves in good order, or is killed."""
    if sum(w.alive for w in rig.workers[rig.options.workers :]) >= _JOINED_MAX:
        return
    extra = _free(rig)
    rig.fault("a worker joins", extra)
    rig.start(extra)
    number = random.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGKILL))
    rig.later(random.uniform(3.0, 6.0), lambda: _leave(rig, extra, number))


def _leave(rig: Rig, slot: int, number: signal.Signals) -> None:
    if rig.workers[slot].alive:
        rig.fault("a worker leaves", slot)
        _end(rig, slot, number)


def leave(rig: Rig, random: Random) -> None:
    """A worker leaves in good order and is back in seconds."""
    slot = _victim(rig, random, ends=True)
    if slot is None:
        return
    rig.fault("a worker leaves", slot)
    _end(rig, slot, signal.SIGTERM)
    rig.later(random.uniform(2.0, 5.0), lambda: _back(rig, slot))


def roll(rig: Rig, random: Random) -> None:
    """A rolling restart: each worker in turn is stopped and started again; the next one when it is ready."""
    for slot in range(rig.options.workers):
        worker = rig.workers[slot]
        if not worker.alive or worker.stopped:
            continue
        rig.fault("rolling restart", slot)
        _end(rig, slot, signal.SIGTERM)
        for _ in range(300):
            if not worker.alive:
                break
            rig.wait(0.1)
        _back(rig, slot)
        for _ in range(100):
            if not rig.workers[slot].alive or rig.workers[slot].status().get("ready"):
                break
            rig.wait(0.3)


def broker_kill(rig: Rig, random: Random) -> None:
    """Kill -9 of a broker chosen for what it leads; back after a moment or after seconds."""
    node, role = _node(rig, random)
    if node is None:
        return
    rig.fault(f"kill -9 of a broker ({role})", node)
    rig.cluster.kill(node)
    rig.later(random.choice((0.0, 3.0, 6.0)), lambda: node in rig.cluster.down and rig.cluster.restart(node))


def broker_freeze(rig: Rig, random: Random) -> None:
    """SIGSTOP of a broker, under and past the cluster's and the clients' time-outs."""
    node, role = _node(rig, random)
    if node is None:
        return
    seconds = random.choice((0.5, 2.0, 5.0, 12.0))
    rig.fault(f"SIGSTOP of a broker ({role})", f"{node} for {seconds:g} s")
    rig.cluster.pause(node)
    rig.later(seconds, lambda: rig.cluster.resume(node))


def broker_restart(rig: Rig, random: Random) -> None:
    """A broker is restarted in good order."""
    node, role = _node(rig, random)
    if node is None:
        return
    rig.fault(f"restart of a broker ({role})", node)
    rig.cluster.restart(node)


def all_brokers_killed(rig: Rig, random: Random) -> None:
    """Kill -9 of all three brokers; they come back one by one."""
    if rig.cluster.impaired:
        return
    rig.fault("kill -9 of all brokers")
    for node in NODES:
        rig.cluster.kill(node)
    rig.wait(random.uniform(0.0, 6.0))
    rig.cluster.start_all()


def all_brokers_frozen(rig: Rig, random: Random) -> None:
    """SIGSTOP of all three brokers for seconds."""
    if rig.cluster.impaired:
        return
    seconds = random.choice((1.0, 4.0, 12.0))
    rig.fault("SIGSTOP of all brokers", f"{seconds:g} s")
    for node in NODES:
        rig.cluster.pause(node)
    rig.later(seconds, lambda: [rig.cluster.resume(node) for node in NODES])


def clock_jump(rig: Rig, random: Random) -> None:
    """The wall clock of all workers jumps by up to a day, back or forth."""
    seconds = random.choice((-86_400.0, -3_600.0, -1.0, 1.0, 3_600.0, 86_400.0))
    rig.fault("clock jump", f"{seconds:+g} s")
    rig.set_clock(seconds)
    rig.later(random.uniform(0.5, 3.0), lambda: rig.set_clock(0.0))


def disk_full(rig: Rig, random: Random) -> None:
    """No file of a worker can grow, its log least of all, for seconds."""
    slot = _victim(rig, random)
    if slot is None:
        return
    worker = rig.workers[slot]
    rig.fault("disk full for logs", slot)
    worker.limit_files(0)
    rig.later(random.uniform(1.0, 5.0), lambda: worker.limit_files(None))


WORKER: tuple[Strike, ...] = (kill, kill, kill_all, freeze, freeze_long, terminate, hijack, twin)
GROUP: tuple[Strike, ...] = (join, leave)
BROKER: tuple[Strike, ...] = (broker_kill, broker_freeze, broker_restart)
SURROUNDINGS: tuple[Strike, ...] = (clock_jump, disk_full)


def _victim(rig: Rig, random: Random, *, ends: bool = False) -> int | None:
    """A worker that runs; ``ends``: the fault ends its process, so the spared ones are none."""
    spared = rig.spared if ends else set()
    alive = [slot for slot in rig.alive() if slot < rig.options.workers and slot not in spared]
    return random.choice(alive) if alive else None


def _free(rig: Rig) -> int:
    dead = [slot for slot in range(rig.options.workers, rig.count) if not rig.workers[slot].alive]
    return dead[0] if dead else rig.count


def _back(rig: Rig, slot: int) -> None:
    """Start the worker of a slot again, when it has ended."""
    if rig.workers[slot].alive:
        if rig.workers[slot].pid in rig.stopping:
            rig.later(0.5, lambda: _back(rig, slot))
        return
    rig.restart(slot)


def _end(rig: Rig, slot: int, number: signal.Signals) -> None:
    worker = rig.workers[slot]
    rig.stopping.add(worker.pid)
    worker.resume()
    worker.signal(number)


def _node(rig: Rig, random: Random) -> tuple[int | None, str]:
    """A broker to hit, by role; none while another one is away, since two of three must stay."""
    if rig.cluster.impaired:
        return None, ""
    app, topics = rig.deployment.app, rig.topics
    role = random.choice(
        ("transaction coordinator", "group coordinator", "input leader", "output leader", "any")
    )
    partition = random.randrange(rig.options.partitions)
    if role == "transaction coordinator":
        return rig.cluster.transaction_coordinator(f"{app}-{random.randrange(rig.options.workers)}"), role
    if role == "group coordinator":
        return rig.cluster.group_coordinator(app), role
    if role == "input leader":
        return rig.cluster.leader_of(topics.input, partition), role
    if role == "output leader":
        return rig.cluster.leader_of(topics.scored, partition), role
    return random.choice(NODES), role
