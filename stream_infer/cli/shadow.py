"""``stream-infer shadow``: a candidate model beside the worker, live or over the past."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cache import cache_dir
from stream_infer.cli.options import config_option, load_config
from stream_infer.cli.progress import progress
from stream_infer.errors import BrokerError
from stream_infer.log import configure, get_logger
from stream_infer.memory import share_arenas
from stream_infer.priority import give_way
from stream_infer.shadow.restarts import Restarts

if TYPE_CHECKING:
    from stream_infer.config import Config

__all__ = ["command"]

_LOG = get_logger("stream_infer")


@click.command()
@config_option
@click.option(
    "--from", "start", help="Go over the past once, from here: a time, an offset, earliest or primary."
)
@click.option(
    "--to", "end", help="With --from: as far as here; at most, and by default, as far as the worker is."
)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="With --from: at most so many events a second."
)
@click.option("--topic", help="With --from: where its comparisons go [default: comparison_topic + .backtest]")
def command(
    config_path: Path, start: str | None, end: str | None, rate: float | None, topic: str | None
) -> None:
    """Score the same events with a candidate model and compare, live or over the past.

    Writes a comparison for each event of the worker's. It has its own process, group, state and control port
    (shadow.port), follows the worker's results, and cannot slow it: it only reads, and computes where nobody else
    would (shadow.priority). Without --from it runs until it is stopped, as `run` does; one that dies again and again
    waits before it starts (shadow.restart_pause_s).

    With --from it is a backtest over what the worker did: it fills its windows with the events before, compares all
    events of the range, and ends. Killed and started with the same options it goes on where it was.
    """
    if start is None and (end or rate or topic):
        raise click.UsageError("--to, --rate and --topic go with --from.")
    from stream_infer.build.shadow_config import shadow_config  # noqa: PLC0415 - --help does without

    share_arenas()
    config = load_config(config_path)
    give_way(config.shadow.priority)  # before all that is costly
    configure(config.log.format, config.log.level)
    own = shadow_config(config)  # says what is missing before anything is done
    if start is None:
        _stop_at_once_on_signals()
        with Restarts(_restarts_file(own), config.shadow.restart_pause_s).counted():
            _follow(config, own, config_path)
    else:
        _go_over(config, config_path, (start, end), rate, topic)
    _LOG.info("stopped")


def _stop_at_once_on_signals() -> None:
    """Let SIGTERM and SIGINT end a start, which has nothing in hand; a container's first process would ignore them."""

    def stop(number: int, _frame: Any) -> None:
        _LOG.info("stopped before it started", signal=signal.Signals(number).name)
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _restarts_file(own: Config) -> Path:
    """Of this shadow and this instance of it on this machine."""
    told = [own.app.id, own.kafka.bootstrap_servers, own.delivery.slot, own.control.port]
    return cache_dir() / "restarts" / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _follow(config: Config, own: Config, path: Path) -> None:
    from stream_infer.build.shadow import build  # noqa: PLC0415 - it takes seconds, and may have to wait for its turn
    from stream_infer.checks import require  # noqa: PLC0415
    from stream_infer.cli.run import stop_on_signals  # noqa: PLC0415

    require(own, path)
    service = build(config)
    stop_on_signals(service)
    service.run()


def _go_over(
    config: Config, path: Path, places: tuple[str, str | None], rate: float | None, topic: str | None
) -> None:
    from stream_infer.build.shadow import Backtest, backtest_config, build, span_of  # noqa: PLC0415
    from stream_infer.build.shadow_config import shadow_config  # noqa: PLC0415
    from stream_infer.checks import require  # noqa: PLC0415
    from stream_infer.cli.run import stop_on_signals  # noqa: PLC0415

    config = backtest_config(config, *places, topic)
    _make_topics(config)
    require(shadow_config(config), path)
    span, ended = span_of(config, *places), threading.Event()
    with progress("backtest", span.events, "compared") as told:
        service = build(config, Backtest(span, rate, told, ended.set))
        stop_on_signals(service)
        service.run()
    if ended.is_set():
        _clear_up(config)
        click.echo(f"comparisons of {span.events} offsets are in {config.shadow.comparison_topic}", err=True)
    else:
        click.echo("not finished: the same command goes on from here", err=True)


def _make_topics(config: Config) -> None:
    """Create what a backtest writes to; the worker's own topics must be there."""
    from stream_infer.build.topics import plan_of  # noqa: PLC0415
    from stream_infer.cluster import Cluster, Topic  # noqa: PLC0415

    cluster = Cluster.open(config.kafka.admin_settings())
    source = cluster.topics([config.input.topic]).get(config.input.topic)
    if source is None:
        raise BrokerError(f"input.topic = {config.input.topic} does not exist: correct the name")
    roles = [role for role in plan_of(config).roles(source) if role.setting.startswith("shadow.")]
    found = cluster.topics(role.name for role in roles)
    missing = [role for role in roles if role.name not in found]
    cluster.create(Topic(role.name, source.partition_count, -1, role.config) for role in missing)


def _clear_up(config: Config) -> None:
    """Remove the state and the offsets of a backtest that is done."""
    from stream_infer.cluster import Cluster  # noqa: PLC0415

    try:
        Cluster.open(config.kafka.admin_settings()).remove([config.shadow.state_topic], config.shadow.id)
    except BrokerError as error:
        _LOG.warning("the backtest's own topic and group are left", reason=str(error))
