"""``stream-infer comparison``: the comparison topic as a file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from stream_infer.cli.options import config_option, load_config
from stream_infer.errors import ConfigError

__all__ = ["command"]


@click.group()
def command() -> None:
    """Export the comparison topic to a file."""


@command.command()
@config_option
@click.option("--topic", help="This topic instead of compare.topic, such as that of a backtest.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("pairs.parquet"),
    show_default=True,
    help="The file to write.",
)
def export(config_path: Path, topic: str | None, to: Path) -> None:
    """Write every comparison that is there now as a row of a Parquet file, for notebooks and DuckDB.

    One column per field, those of the two sides as primary_… and shadow_…. `stream-infer compare report --parquet`
    reads it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError("comparison export needs the extra 'compare': pip install 'stream-infer[compare]'")
    from stream_infer.build import compare as build  # noqa: PLC0415 (slow; --help does without)
    from stream_infer.comparison.parquet import row_of, write_pairs  # noqa: PLC0415
    from stream_infer.comparison.reading import PairReader  # noqa: PLC0415

    config = load_config(config_path)
    reader = PairReader(build.comparison_schemas(config))
    records = build.records_of_topic(config, topic or config.compare.topic, reader)
    count = write_pairs(to, (row_of(*found) for found in records))
    click.echo(f"{count:,} comparisons in {to}")
