"""``stream-infer demo``: the whole, on this machine, with real parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.data_options import require_train_extra
from stream_infer.demo.settings import DEFAULT_RATE

if TYPE_CHECKING:
    from stream_infer.demo.summary import Summary

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  stream-infer demo                              a minute of three real machines
  stream-infer demo --rate 200 --events 5000     slower
  stream-infer demo --rate 0 --json              as fast as it goes, figures only
  stream-infer demo --data smd19.parquet --rate 5000
  stream-infer demo --keep                       look into topics, settings and logs afterwards

\b
What runs, each in a process of its own, all on 127.0.0.1:
  producer ─▶ server-metrics ─▶ worker ─▶ server-metrics.scored ─▶ this view
                                   └────▶ server-metrics.rejected
  shadow: the same events and what the worker said of them ─▶ server-metrics.compared ─▶ verdict, report
"""


@click.command("demo", epilog=_EXAMPLES)
@click.option(
    "--events",
    type=click.IntRange(min=1),
    help="End after so many events; default: about a minute's worth. Never more than the data has.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=DEFAULT_RATE,
    show_default=True,
    help="Events per second; 0 = as fast as possible, where latency is mostly waiting in the input topic.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Parquet file as for stream-infer train; default: the packaged sample, three servers with 38 metrics.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A model that stream-infer train made; default: one is trained on the data's training rows, and kept.",
)
@click.option(
    "--candidate",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The shadow's model; default: one of another family, trained as the first is.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the report on the shadow goes; default: the cache, beside the models.",
)
@click.option(
    "--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Partitions of each topic."
)
@click.option(
    "--broken",
    type=click.FloatRange(0, 0.5),
    default=0.005,
    show_default=True,
    help="Share of events that are broken on purpose (cut off, JSON, infinite values, …): watch where they go.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="No live view; one JSON object on standard output at the end."
)
@click.option(
    "--keep", is_flag=True, help="Keep the folder with Kafka's data, settings and logs, and say where it is."
)
@click.pass_context
def command(
    ctx: click.Context, /, *, data: Path | None, model: Path | None, as_json: bool, **options: Any
) -> None:
    """Watch the whole: a real Kafka, a model, real events, anomalies as they are scored.

    Starts an Apache Kafka and a schema registry on this machine (no Docker, no Java needed; the first call downloads
    about 205 MB), trains a model on real server metrics (once), and lets a producer publish the rows that the model
    has not seen, as Avro, in time order. The worker scores them exactly once; a live view shows what it
    finds, and whether experts had labelled it. A second model scores beside it, as its shadow; what both say is
    compared event by event, judged, and written up as a page.

    Ends by itself, or by Ctrl-C, with a summary for which every record was read back. Nothing is left behind.

    Exit codes: 0 every event ended exactly once, 1 one was lost or came twice or a process ended by itself, else as
    stream-infer run.
    """
    require_train_extra()
    from rich.console import Console  # noqa: PLC0415 (slow; --help does without)

    from stream_infer.data import sample_path  # noqa: PLC0415
    from stream_infer.demo.run import run  # noqa: PLC0415
    from stream_infer.demo.settings import Settings  # noqa: PLC0415

    settings = Settings(data=data or sample_path(), model=model, **options)
    console = Console(stderr=as_json, highlight=False)
    summary = run(settings, console, live=console.is_terminal and not as_json)
    _tell(summary, console, as_json=as_json)
    ctx.exit(summary.exit_code)


def _tell(summary: Summary, console: object, *, as_json: bool) -> None:
    """Give the last word, in the form that was asked for."""
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    else:
        summary.print(console)  # type: ignore[arg-type] # rich is imported late
