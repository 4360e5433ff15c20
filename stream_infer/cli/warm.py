"""``stream-infer warm``: compile beforehand what the first start would compile."""

from __future__ import annotations

from pathlib import Path

import click

from stream_infer.cli.options import config_option, load_config

__all__ = ["command"]


@click.command()
@config_option
def command(config_path: Path) -> None:
    """Compile beforehand what the first start would compile.

    For the build of an image: needs the settings and the model, no broker and no registry. The cache lies beside the
    package, or in the folder NUMBA_CACHE_DIR; it serves the kind of processor that it was made on, another one
    compiles anew.
    """
    from stream_infer.build.warm import warm  # noqa: PLC0415 - it compiles and loads, --help does without
    from stream_infer.log import configure  # noqa: PLC0415

    config = load_config(config_path)
    configure(config.log.format, config.log.level)
    warm(config)
