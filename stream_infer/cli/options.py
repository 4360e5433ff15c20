"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from stream_infer.config import Config

__all__ = ["config_option", "load_config"]


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-c/--config FILE`` as the parameter ``config_path``."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        default=Path("worker.toml"),
        show_default=True,
        help="File of the worker's settings; STREAM_INFER__SECTION__KEY in the environment overrides it.",
    )(command)


def load_config(path: Path) -> Config:
    """Load the settings as this process sees them. Raises ConfigError."""
    from stream_infer.config import load  # noqa: PLC0415 (slow; --help does without)

    return load(path, os.environ)
