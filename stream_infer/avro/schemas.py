"""The schemas of this project's own topics, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["IDS", "folder", "text"]

IDS: Final = {"scored_event": 900_001, "comparison": 900_002, "verdict": 900_003, "server_metrics": 900_004}
"""Ids where no registry gives any. They never change."""

PACKAGED: Final = Path(__file__).parent.parent / "schemas"
CHECKOUT: Final = Path(__file__).parent.parent.parent / "schemas"


def folder() -> Path:
    """Find the folder of the ``.avsc`` files: in a wheel it is part of the package, in a checkout beside it."""
    return PACKAGED if PACKAGED.is_dir() else CHECKOUT


def text(name: str) -> str:
    """Read the schema called ``name``, such as ``scored_event``."""
    return (folder() / f"{name}.avsc").read_text(encoding="utf-8")
