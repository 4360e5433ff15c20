"""``stream-infer kafka``: a real Kafka and schema registry, held open for a developer's shell."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.errors import BrokerError

if TYPE_CHECKING:
    from stream_infer.embedded import EmbeddedKafka

__all__ = ["command"]

_LOOK_S = 1.0

_EXAMPLES = """\b
Examples:
  stream-infer kafka
  stream-infer kafka --nodes 3 --no-registry
  stream-infer kafka --kafka-version 3.9.2
  stream-infer kafka --data-dir ./kafka-data      keeps topics and offsets for the next time
"""


@click.command("kafka", epilog=_EXAMPLES)
@click.option(
    "--nodes",
    type=click.Choice(["1", "3"]),
    default="1",
    show_default=True,
    help="Brokers. With 3, topics have 3 copies and one broker may fail.",
)
@click.option(
    "--registry/--no-registry",
    "with_registry",
    default=True,
    show_default=True,
    help="Also a Confluent-compatible schema registry; it keeps its schemas in memory.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the data here, and go on from what is there; default: a temporary directory, removed at the end.",
)
@click.option(
    "--kafka-version",
    metavar="VERSION",
    help="4.3.1 (default), or 3.9.2, whose brokers speak the classic group protocol only.",
)
def command(nodes: str, data_dir: Path | None, kafka_version: str | None, *, with_registry: bool) -> None:
    """Hold a real Apache Kafka open on this machine until Ctrl-C.

    Needs no Docker, no Java and no Maven. The first call downloads about 46 MB for Kafka and 159 MB for the
    registry into ~/.cache/stream-infer, each file verified by its SHA-256; from then on it works offline. Everything
    listens on 127.0.0.1 only, on free ports, and ends with this command, also if that is killed.

    Standard output says where it is, one "name value" per line: kafka.bootstrap_servers and registry.url, named as
    the settings of a worker, and data_dir, which holds the data and logs/node-N.log. Topics are not created by
    writing to them: use stream-infer topics create, or an admin client.
    """
    # Slow; --help does without.
    from stream_infer.embedded import EmbeddedKafka, EmbeddedRegistry  # noqa: PLC0415
    from stream_infer.embedded.versions import LATEST  # noqa: PLC0415

    progress = _say_on_stderr()
    with ExitStack() as stack:
        kafka = stack.enter_context(
            EmbeddedKafka(int(nodes), data_dir, version=kafka_version or LATEST, progress=progress)
        )
        click.echo(f"kafka.bootstrap_servers  {kafka.bootstrap_servers}")
        click.echo(f"data_dir  {kafka.data_dir}")
        if with_registry:
            url = stack.enter_context(EmbeddedRegistry(progress=progress)).url
            click.echo(f"registry.url  {url}")
        _hold(kafka, int(nodes))
        click.echo("ending", err=True)


def _hold(kafka: EmbeddedKafka, nodes: int) -> None:
    """Return at SIGINT or SIGTERM. Raises BrokerError when a broker ends by itself."""
    done = threading.Event()

    def end(_number: int, _frame: Any) -> None:
        done.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        click.echo("running; Ctrl-C ends it", err=True)  # from here on it does
        while not done.wait(_LOOK_S):
            if len(kafka.pids) < nodes:
                left = sorted(set(range(1, nodes + 1)) - set(kafka.pids))
                raise BrokerError(f"broker {left} ended by itself:\n{kafka.last_log_lines(left[0])}")
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _say_on_stderr() -> Callable[[str], None]:
    return lambda text: click.echo(text, err=True)
