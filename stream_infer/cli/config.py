"""``stream-infer config``: an example of the settings, or those in force."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stream_infer.cli.options import config_option, load_config

__all__ = ["command"]


@click.group()
def command() -> None:
    """Write an example of the settings, or show those in force."""


@command.command()
def example() -> None:
    """Write a commented settings file to standard output."""
    from stream_infer.config import reference  # noqa: PLC0415 (slow; --help does without)

    click.echo(reference.example(), nl=False)


@command.command()
@config_option
def show(config_path: Path) -> None:
    """Show every setting as file, environment and defaults make it, as JSON; secrets as stars."""
    from stream_infer.config import reference  # noqa: PLC0415

    click.echo(json.dumps(reference.shown(load_config(config_path)), indent=2))
