"""Options of the commands that read a file of rows, and the bar that shows how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.errors import ConfigError

if TYPE_CHECKING:
    from stream_infer.models.dataset import Dataset

__all__ = ["column_options", "data_option", "progress_bar", "read_rows", "require_train_extra"]

_ROLES = {
    "entity": "what a row belongs to (usual names: entity_id, entity, machine, host, device, …)",
    "seq": "the row's number in its entity; without one rows are counted",
    "time": "timestamp, or epoch milliseconds (ts, time, timestamp, …)",
    "split": "which rows are for training (split, fold, subset)",
    "label": "1 anomaly, 0 none, -1 or null nobody knows (label, is_anomaly, anomaly)",
}


def data_option(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--data FILE``."""
    return click.option(
        "--data",
        "data_path",
        type=click.Path(path_type=Path),
        required=required,
        help="Parquet file with one row per event; in it at least an entity column and numeric features.",
    )


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--entity-column`` and its like, and ``--features``."""
    command = click.option(
        "--features",
        metavar="A,B,…",
        help="Feature columns in the model's order; without it all other numeric columns in the file's order.",
    )(command)
    for role, words in reversed(_ROLES.items()):
        command = click.option(f"--{role}-column", metavar="NAME", help=f"Column: {words}.")(command)
    return command


def require_train_extra() -> None:
    """Raise ConfigError, which names the cure, where the extra ``train`` is not installed."""
    import importlib.util  # noqa: PLC0415 (only wanted here)

    missing = [name for name in ("pyarrow", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; run: pip install 'stream-infer[train]'")


def read_rows(
    data_path: Path, options: dict[str, str | None], model_features: tuple[str, ...] = ()
) -> Dataset:
    """Read the file with the columns that ``column_options`` named.

    ``model_features`` are the columns to take where ``--features`` names none. Raises ConfigError.
    """
    from stream_infer.models.dataset import ColumnNames, read_dataset  # noqa: PLC0415 (slow)

    named = {role: options[f"{role}_column"] for role in _ROLES}
    features = tuple(name.strip() for name in (options["features"] or "").split(",") if name.strip())
    if features and model_features and len(features) != len(model_features):
        raise ConfigError(
            f"--features names {len(features)} columns, the model takes {len(model_features)}: "
            f"{', '.join(model_features)}"
        )
    return read_dataset(data_path, ColumnNames(**named, features=features or model_features))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Show steps and their share done on standard error, where that is a terminal."""
    from rich.console import Console  # noqa: PLC0415 (slow)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def report(step: str, done: float) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=done)

        yield report
