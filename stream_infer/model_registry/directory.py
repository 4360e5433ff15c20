"""A folder as a registry: ROOT/NAME/VERSION/ holds an artifact, the link ROOT/NAME/ALIAS names a version."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from stream_infer.errors import ModelRegistryError
from stream_infer.model_registry.registry import ModelVersion

__all__ = ["DirectoryRegistry"]

_MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


class DirectoryRegistry:
    """Versions of one model under ``folder`` (ROOT/NAME). An alias is a symbolic link, replaced in one step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, wanted: str) -> ModelVersion:
        """The version that an alias or a version number means."""
        path = self._folder / _checked(wanted)
        if not (path / _MANIFEST).is_file():
            known = ", ".join(v.version for v in self._known()[:5]) or "none"
            raise ModelRegistryError(
                f"{path}: no model here (versions in {self._folder}: {known}). Cure: `stream-infer model register "
                f"ARTIFACT {self._folder}`, and `stream-infer model promote {self._folder} VERSION` for an alias"
            )
        return self._version(path.resolve().name)

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Copy the artifact."""
        source = Path(version.uri)
        try:
            for file in source.iterdir():
                shutil.copyfile(file, folder / file.name)
        except OSError as error:
            raise ModelRegistryError(
                f"{source}: cannot be copied: {error.strerror}. Cure: check the folder"
            ) from error

    def point(self, alias: str, version: str) -> None:
        """Replace the link."""
        link = self._folder / _checked(alias)
        if not (self._folder / _checked(version) / _MANIFEST).is_file():
            self.resolve(version)
        if link.exists() and not link.is_symlink():
            raise ModelRegistryError(f"{link}: is a version, not an alias. Cure: choose another alias")
        fresh = self._folder / f".{alias}.{os.getpid()}"
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(version, target_is_directory=True)
            fresh.replace(link)
        except OSError as error:
            raise ModelRegistryError(
                f"{link}: cannot be set: {error.strerror}. Cure: make the folder writable"
            ) from error

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, the newest first."""
        return self._known()

    def add(self, folder: Path, version: str, metrics: Mapping[str, float]) -> ModelVersion:  # noqa: ARG002 - they are in its manifest
        """Copy an artifact in under its version."""
        target = self._folder / _checked(version)
        if target.exists():
            raise ModelRegistryError(
                f"{target}: this version is there already, and versions do not change. Cure: train a new one"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".adding.", dir=self._folder))
            try:
                for file in folder.iterdir():
                    shutil.copyfile(file, staging / file.name)
                staging.chmod(0o755)
                staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise ModelRegistryError(
                f"{target}: cannot be written: {error.strerror}. Cure: make the folder writable"
            ) from error
        return self._version(version)

    def _known(self) -> list[ModelVersion]:
        if not self._folder.is_dir():
            return []
        found = [
            path
            for path in self._folder.iterdir()
            if not path.is_symlink() and not path.name.startswith(".") and (path / _MANIFEST).is_file()
        ]
        found.sort(key=lambda path: (path / _MANIFEST).stat().st_mtime_ns, reverse=True)
        return [self._version(path.name) for path in found]

    def _version(self, version: str) -> ModelVersion:
        path = self._folder / version
        links = [
            path for path in self._folder.iterdir() if not path.name.startswith(".") and path.is_symlink()
        ]
        aliases = sorted(link.name for link in links if str(link.readlink()) == version)
        try:
            metrics = json.loads((path / _MANIFEST).read_bytes()).get("metrics", {})
        except (OSError, ValueError, AttributeError) as error:
            raise ModelRegistryError(
                f"{path / _MANIFEST}: cannot be read ({error}). Cure: register the artifact again"
            ) from error
        return ModelVersion(self._folder.name, version, str(path), tuple(aliases), metrics)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ModelRegistryError(
            f"{name!r} is no alias or version. Cure: letters, digits and . _ + - only, a letter or digit first"
        )
    return name
