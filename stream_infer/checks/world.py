"""What the checks of one run share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stream_infer.cluster import Cluster, Topic
from stream_infer.config import Config
from stream_infer.models.manifest import Manifest

__all__ = ["Skipped", "Step", "World"]


class Skipped(Exception):  # noqa: N818 (it is no error)
    """The question makes no sense, or needs the answer to one that failed."""


class World:
    """What the checks found so far: later ones build on it. ``path`` of the settings is named in commands that cure."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        self.path = path
        self.cluster: Cluster | None = None
        self.source: Topic | None = None
        self.manifest: Manifest | None = None


Step = Callable[[World], str]
"""Asks one question: the answer in a few words. Raises WorkerError, KafkaException, or Skipped."""
