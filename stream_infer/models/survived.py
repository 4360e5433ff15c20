"""Which models a child process has survived, on this machine: a worker that starts again need not try them again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stream_infer.cache import cache_dir

__all__ = ["has_survived", "note_survivor"]

_KEPT = 256
_HERE: set[str] = set()  # for where the folder cannot be written


def has_survived(digest: str) -> bool:
    """Whether a rehearsal of this digest was survived before."""
    return digest in _HERE or (_folder() / digest).exists()


def note_survivor(digest: str) -> None:
    """Remember a rehearsal that was survived; the oldest of many are forgotten."""
    _HERE.add(digest)
    with suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / digest).touch()
        for old in sorted(_folder().iterdir(), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)


def _folder() -> Path:
    return cache_dir() / "rehearsed"
