"""``stream-infer compare``: statistics and verdict of the comparison topic, live or as a report."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.errors import ConfigError
from stream_infer.scratch import Scratch

if TYPE_CHECKING:
    from stream_infer.config import Config

__all__ = ["command"]

_EXTRA = "needs the extra 'compare': pip install 'stream-infer[compare]'"


@click.group(invoke_without_command=True)
@config_option
@click.pass_context
def command(ctx: click.Context, config_path: Path) -> None:
    """Watch or report what primary and shadow say of the same events, and the verdict.

    Without a subcommand it watches until stopped: reads the comparison topic from its beginning, keeps statistics in
    Kafka (so that a restart goes on where it was), and writes a record to compare.verdict_topic whenever the verdict
    changes. Pages at compare.host and compare.port: /report for people, /summary as JSON.
    """
    ctx.obj = config_path
    if ctx.invoked_subcommand is None:
        _watch(load_config(config_path))


def _watch(config: Config) -> None:
    from stream_infer.log import configure  # noqa: PLC0415

    try:
        from stream_infer.comparison.process import Process  # noqa: PLC0415 (part of an extra)
    except ImportError as error:
        raise ConfigError(f"stream-infer compare {_EXTRA}") from error
    from stream_infer.build.compare import compare_app  # noqa: PLC0415

    configure(config.log.format, config.log.level)
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with Scratch("compare") as folder:
        app = compare_app(config, folder).build()
        Process(app, override_logging=False, redirect_stdouts=False, quiet=True).execute_from_commandline()


@command.command()
@click.option(
    "-c", "--config", "own_path", type=click.Path(path_type=Path), help="File of the worker's settings."
)
@click.option(
    "--from-topic",
    is_flag=True,
    help="Read compare.topic as it is now: no restart, no statistics kept elsewhere.",
)
@click.option("--topic", help="With --from-topic: this topic instead, such as that of a backtest.")
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read a file that `stream-infer comparison export` wrote.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page; the same in JSON beside it.",
)
@click.pass_obj
def report(
    config_path: Path,
    own_path: Path | None,
    topic: str | None,
    parquet: Path | None,
    out: Path,
    *,
    from_topic: bool,
) -> None:
    """Write a page on the comparison: verdict and reason first, then what they rest on."""
    if from_topic == (parquet is not None):
        raise click.UsageError("name one source: --from-topic or --parquet FILE")
    from stream_infer.build import compare as build  # noqa: PLC0415 (slow; --help does without)
    from stream_infer.comparison.offline import compared  # noqa: PLC0415
    from stream_infer.comparison.reading import PairReader  # noqa: PLC0415

    config = load_config(own_path or config_path)
    if parquet is not None:
        from stream_infer.comparison.parquet import read_pairs  # noqa: PLC0415 (part of an extra)

        parts, source = read_pairs(parquet), parquet.name
    else:
        source = topic or config.compare.topic
        parts = build.pairs_of_topic(config, source, PairReader(build.comparison_schemas(config)))
    content = compared(
        parts, build.ledger_of(config), build.criteria_of(config), build.labels_of(config), source
    )
    _write(content, out)


def _write(content: dict[str, Any], out: Path) -> None:
    from stream_infer.comparison.report import render  # noqa: PLC0415

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render(content), encoding="utf-8")
        out.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}") from None
    for one in content["comparisons"]:
        versions = f"{one['primary']['version']} and {one['shadow']['version']}"
        click.echo(f"{versions}: {one['verdict']['verdict']}; {one['verdict']['reason']}")
    click.echo(f"{out} and {out.with_suffix('.json')}")
