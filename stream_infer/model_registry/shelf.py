"""Shelf: artifacts fetched from a registry, as folders on this machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from stream_infer.errors import ModelError, ModelRegistryError
from stream_infer.model_registry.registry import ModelRegistry, ModelVersion
from stream_infer.models.artifact import Artifact
from stream_infer.scratch import Scratch

__all__ = ["Shelf"]

_KEPT = 2


class Shelf:
    """Keeps versions under ``folder``; without one, the newest two in a temporary folder that goes with ``close``."""

    def __init__(self, folder: Path | None) -> None:
        self._kept = folder
        self._temporary: Scratch | None = None
        self._order: list[Path] = []

    def take(self, registry: ModelRegistry, version: ModelVersion) -> Path:
        """The folder of a version's artifact, fetched and verified unless it is there.

        Raises ModelRegistryError when it cannot be had now, ModelError when it is no artifact.
        """
        target = self._root() / version.name / version.version
        if not _whole(target):
            self._fetch(registry, version, target)
            Artifact.load(target)
        if self._kept is None:
            self._forget_all_but(target)
        return target

    def close(self) -> None:
        """Remove what is temporary."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _root(self) -> Path:
        if self._kept is not None:
            return self._kept
        if self._temporary is None:
            self._temporary = Scratch("models")
        return Path(self._temporary.name)

    def _fetch(self, registry: ModelRegistry, version: ModelVersion, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".fetching.", dir=target.parent))
            try:
                registry.fetch(version, staging)
                if not _whole(target):  # another process that shares the folder may have been faster
                    shutil.rmtree(target, ignore_errors=True)
                    staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise ModelRegistryError(
                f"{target}: a fetched model cannot be kept: {error.strerror}. Cure: set model.cache_dir to a folder "
                "that can be written"
            ) from error

    def _forget_all_but(self, target: Path) -> None:
        self._order = [*(path for path in self._order if path != target), target]
        while len(self._order) > _KEPT:
            shutil.rmtree(self._order.pop(0), ignore_errors=True)


def _whole(target: Path) -> bool:
    """Whether a folder holds an undamaged artifact."""
    if not target.is_dir():
        return False
    try:
        Artifact.load(target)
    except ModelError:
        return False
    return True
