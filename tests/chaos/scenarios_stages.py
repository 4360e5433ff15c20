"""Faults of what a worker asks on its way: the schema registry and the model."""

from __future__ import annotations

import mmap
import resource
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from load.events import FEATURES
from stream_infer.embedded import EmbeddedRegistry
from tests.chaos import nemesis
from tests.chaos.patches_stages import HANG, MEMORY, MODEL_MOODS, NAN_ENTITY, model_mood, registry_url
from tests.chaos.registry_front import MOODS, RegistryFront
from tests.chaos.rig import Rig
from tests.chaos.scenario import scenario
from tests.chaos.scenarios_worker import strike_on
from tests.kafka.deployment import SCHEMA_ID, encode

__all__: list[str] = []


@scenario(
    "registry",
    faults=tuple(f"registry: {mood}" for mood in MOODS),
    patches=("tests.chaos.patches_stages:registry",),
)
def registry(rig: Rig, random: Random) -> None:
    """The registry is down, slow, or talks nonsense, while workers start anew and know no schema."""
    (schema,) = (rig.folder / "schemas").glob(f"{SCHEMA_ID}-*.avsc")
    real = rig.closing.enter_context(EmbeddedRegistry())
    client = rig.closing.enter_context(SchemaRegistryClient({"url": real.url, "timeout": 10}))
    number = client.register_schema("events-value", Schema(schema.read_text("utf-8"), "AVRO"))
    front = rig.closing.enter_context(RegistryFront(real.url, {SCHEMA_ID: number}))
    rig.closing.callback(setattr, front, "mood", "well")
    registry_url(rig.folder).write_text(front.url, "utf-8")
    # Faults end before the servers do: the rig settles without a registry from the folder of schemas again.
    rig.closing.callback(registry_url(rig.folder).unlink)
    rig.closing.callback(_start_anew, rig)
    rig.begin()
    nemesis.kill_all(rig, random)
    strike_on(rig, random, lambda rig, random: _mood(rig, random, front), every_s=(0.5, 2.0))


@scenario(
    "model",
    faults=(*(f"the model {mood}" for mood in MODEL_MOODS.values()), "the model gives NaN", "no more memory"),
    patches=("tests.chaos.patches_stages:model",),
)
def model(rig: Rig, random: Random) -> None:
    """The model raises, gives a wrong shape or NaN, hangs for good, or there is no memory left."""
    strike_on(rig, random, _model_mood, _model_mood, _nan, _no_memory, every_s=(0.5, 2.5))


def _mood(rig: Rig, random: Random, front: RegistryFront) -> None:
    mood, seconds = random.choice(MOODS), random.uniform(1.0, 6.0)
    rig.fault(f"registry: {mood}", f"{seconds:.1f} s")
    front.mood = mood
    nemesis.kill(rig, random)
    rig.wait(seconds)
    front.mood = "well"


def _start_anew(rig: Rig) -> None:
    """Kill what still knows the registry; the rig starts it again."""
    for worker in rig.workers:
        if worker.alive:
            worker.kill()


def _model_mood(rig: Rig, random: Random) -> None:
    mood = random.choice((*MODEL_MOODS, *MODEL_MOODS))
    rig.fault(f"the model {MODEL_MOODS[mood]}")
    _set_mood(rig, mood)
    if mood in {HANG, MEMORY}:
        rig.later(5.0, lambda: _set_mood(rig, 0))  # nobody asked it meanwhile
        rig.wait(random.uniform(0.5, 6.0))
    else:
        rig.later(random.uniform(0.2, 2.0), lambda: _set_mood(rig, 0))


def _nan(rig: Rig, random: Random) -> None:
    rig.fault("the model gives NaN")
    for _ in range(random.choice((1, 3))):
        name = f"{NAN_ENTITY}{random.getrandbits(64):x}"
        values = [random.random() for _ in FEATURES]
        event = encode(name, time.time_ns() // 1_000_000, values, name)
        rig.ledger.inject(event.value, random.randrange(rig.options.partitions), deadly=True)


def _no_memory(rig: Rig, random: Random) -> None:
    """The worker's address space may not grow, for a moment."""
    slots = rig.alive()
    if not slots:
        return
    worker = rig.workers[random.choice(slots)]
    rig.fault("no more memory", worker.pid)
    _limit_memory(worker.pid, _size_bytes(worker.pid))
    rig.later(random.uniform(0.2, 1.5), lambda: _limit_memory(worker.pid, resource.RLIM_INFINITY))


def _set_mood(rig: Rig, mood: int) -> None:
    with model_mood(rig.folder).open("r+b") as file:
        mmap.mmap(file.fileno(), 1)[0] = mood


def _size_bytes(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    return resource.RLIM_INFINITY


def _limit_memory(pid: int, size_bytes: int) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (size_bytes, resource.RLIM_INFINITY))
