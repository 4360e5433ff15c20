"""A worker's settings against the real world: brokers, topics, rights, model, registry, schema, port.

``stream-infer check`` tells all of it; ``stream-infer run`` asks for the quick part before it starts. Each
error names the setting and the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from confluent_kafka import KafkaException

from stream_infer.build.model import artifact_of, model_of
from stream_infer.checks.control import control
from stream_infer.checks.kafka import brokers, client, input_topic, rights, role
from stream_infer.checks.schema import schema
from stream_infer.checks.world import Skipped, Step, World
from stream_infer.config import Config
from stream_infer.errors import BrokerError, WorkerError
from stream_infer.models.manifest import Manifest

__all__ = ["Check", "require", "run"]


@dataclass(frozen=True)
class Check:
    """One question and its answer. ``error`` is set where it failed; a skipped one could not be asked."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    detail: str
    error: WorkerError | None = None


def run(config: Config, path: Path) -> list[Check]:
    """Ask everything, in order; an answer that never comes counts as failed after some seconds.

    ``path`` of the settings is named in the commands that cure.
    """
    world = World(config, path)
    return [_ask(name, step, world) for name, step in _steps(_model, config)]


def require(config: Config, path: Path = Path("worker.toml")) -> None:
    """Ask what can be asked in a moment, and raise the first error.

    The worker finds out about its rights and the model's runtime by itself.
    """
    world = World(config, path)
    for name, step in _steps(_manifest, config):
        check = _ask(name, step, world) if step is not rights else None
        if check is not None and check.error is not None:
            raise check.error


def _steps(model: Step, config: Config) -> Iterable[tuple[str, Step]]:
    yield "client", client
    yield "brokers", brokers
    yield "input topic", input_topic
    names = ["scored topic", "reject topic", "state topic"]
    if config.shadow.is_set:
        names += ["comparisons", "shadow state"]
    for index, name in enumerate(names):
        yield name, partial(role, index=index)
    yield "rights", rights
    yield "model", model
    yield "schema", schema
    yield "control", control


def _ask(name: str, step: Step, world: World) -> Check:
    try:
        return Check(name, "ok", step(world))
    except Skipped as why:
        return Check(name, "skipped", str(why))
    except WorkerError as error:
        found = error
    except KafkaException as failure:
        found = BrokerError(failure.args[0].str())
    return Check(name, "failed", str(found), found)


def _model(world: World) -> str:
    world.manifest = model_of(world.config.model)[0].loaded.manifest
    return _named(world.manifest)


def _manifest(world: World) -> str:
    # Hashes and shape; the runtime is opened by the worker a moment later.
    world.manifest = artifact_of(world.config.model).manifest
    return _named(world.manifest)


def _named(manifest: Manifest) -> str:
    return f"{manifest.name} {manifest.version}: {len(manifest.features)} features, window {manifest.window}"
