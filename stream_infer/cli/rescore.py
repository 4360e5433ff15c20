"""The part of ``stream-infer model rollback`` that scores again what a bad version scored."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import load_config
from stream_infer.cli.progress import progress
from stream_infer.errors import BrokerError
from stream_infer.log import get_logger

if TYPE_CHECKING:
    from stream_infer.config import Config
    from stream_infer.model_registry.registry import ModelRegistry, ModelVersion
    from stream_infer.rescore.offsets import Offsets
    from stream_infer.rescore.scored_by import ScoredBy

__all__ = ["rescore"]

_LOG = get_logger("stream_infer")
_QUIET_S = 5.0
_LOOK_EVERY_S = 0.5
_SETTLE_S = 300.0


def rescore(config_path: Path, registry: ModelRegistry, bad: ModelVersion, good: ModelVersion) -> None:
    """Correct what ``bad`` scored and ``good`` has not corrected yet; ``good`` is what the alias means by now."""
    from stream_infer.build.rescore import job_config, scored_by  # noqa: PLC0415 - it compiles and loads
    from stream_infer.log import configure  # noqa: PLC0415

    config = load_config(config_path)
    configure(config.log.format, config.log.level)
    own = job_config(config, bad.version, good.version)
    _make_topic(own, "output.correction_topic", own.output.correction_topic, {})
    with scored_by(config, bad.version) as scored, scored_by(config, good.version, bad.version) as corrected:
        _settle(scored, 2 * config.model.poll_interval_s + _QUIET_S, bad.version)
        corrected.read()
        before = len(corrected.offsets)
        wanted = scored.offsets - corrected.offsets
        click.echo(f"{bad.version} scored {len(scored.offsets)} events, {before} are corrected", err=True)
        if not len(wanted):
            return
        if not _work(own, registry, (bad, good), wanted):
            click.echo("not finished: the same command goes on from here", err=True)
            return
        _clear_up(own)
        corrected.read()
        _tell(config, len(corrected.offsets) - before, len(wanted - corrected.offsets), good.version)
        if scored.read():
            click.echo(f"{bad.version} went on scoring meanwhile: give the same command again", err=True)


def _settle(scored: ScoredBy, quiet_s: float, bad: str) -> None:
    """Read on until the workers have swapped: nothing more by the bad version for a while. Raises BrokerError."""
    began_at = grown_at = time.monotonic()
    _LOG.info("waiting until workers no longer score with it", version=bad, quiet_s=quiet_s)
    while time.monotonic() - grown_at < quiet_s:
        if scored.read():
            grown_at = time.monotonic()
        if grown_at - began_at > _SETTLE_S + quiet_s:
            raise BrokerError(
                f"a worker still scores with {bad}. Cure: see /status of each (model_refused, model_registry), or "
                "restart it; then give the same command again"
            )
        time.sleep(_LOOK_EVERY_S)


def _work(
    own: Config, registry: ModelRegistry, versions: tuple[ModelVersion, ModelVersion], wanted: Offsets
) -> bool:
    """Run the job; returns whether it came to its end."""
    from stream_infer.build.model import model_at  # noqa: PLC0415
    from stream_infer.build.rescore import Job, build  # noqa: PLC0415
    from stream_infer.cli.run import stop_on_signals  # noqa: PLC0415
    from stream_infer.model_registry.shelf import Shelf  # noqa: PLC0415
    from stream_infer.topics import STATE  # noqa: PLC0415

    bad, good = versions
    _make_topic(own, "the job's state topic", own.state.topic, STATE)
    _end_sessions_soon(own)
    ended, shelf = threading.Event(), Shelf(own.model.cache_dir)
    try:
        model = model_at(registry, good, own.model, shelf)
        span = sum(wanted.stop[p] - first for p, first in wanted.first.items())
        with progress("rescoring", span, "corrected") as told:
            service = build(own, model, Job(bad.version, wanted, told, ended.set))
            stop_on_signals(service)
            service.run()
    finally:
        shelf.close()
    return ended.is_set()


def _make_topic(own: Config, setting: str, name: str, config: Mapping[str, str]) -> None:
    """Create a topic with the input's partitions, unless it is there. Raises BrokerError where one does not fit."""
    from stream_infer.cluster import Cluster, Topic  # noqa: PLC0415
    from stream_infer.topics import Role, faults  # noqa: PLC0415

    cluster = Cluster.open(own.kafka.admin_settings())
    found = cluster.topics([own.input.topic, name])
    source = found.get(own.input.topic)
    if source is None:
        raise BrokerError(f"input.topic = {own.input.topic} does not exist: correct the name")
    if name not in found:
        cluster.create([Topic(name, source.partition_count, -1, config)])
    elif wrong := faults(Role(setting, name, config), source, found[name]):
        raise BrokerError(f"{'; '.join(wrong)}. Cure: delete it (it is made anew), or name another")


def _end_sessions_soon(own: Config) -> None:
    """A job that was killed is waited for until its session ends: let that be soon."""
    from stream_infer.cluster import Cluster  # noqa: PLC0415
    from stream_infer.topics import GROUP_SETTINGS  # noqa: PLC0415

    if own.kafka.group_protocol == "consumer":
        with suppress(BrokerError):
            Cluster.open(own.kafka.admin_settings()).configure_group(own.app.id, GROUP_SETTINGS)


def _clear_up(own: Config) -> None:
    """Remove the state and the offsets of a job that is done."""
    from stream_infer.cluster import Cluster  # noqa: PLC0415

    try:
        Cluster.open(own.kafka.admin_settings()).remove([own.state.topic], own.app.id)
    except BrokerError as error:
        _LOG.warning("the job's own topic and group are left", reason=str(error))


def _tell(config: Config, corrected: int, left: int, good: str) -> None:
    click.echo(f"{corrected} corrections are in {config.output.correction_topic}", err=True)
    if left:
        click.echo(
            f"{left} events keep the score they have: {good} has none for them, or the input no longer holds them",
            err=True,
        )
