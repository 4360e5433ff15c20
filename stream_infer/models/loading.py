"""From an artifact's directory to what a Scorer needs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stream_infer.models.artifact import Artifact
from stream_infer.models.manifest import Manifest
from stream_infer.models.model import Model
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import ON_CPU, Placement
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles

__all__ = ["LoadedModel", "load_model", "open_artifact"]


class LoadedModel(NamedTuple):
    """A model ready to score, with what training learned."""

    model: Model
    profiles: Profiles
    layout: Layout
    manifest: Manifest


def load_model(
    path: Path | str, placement: Placement = ON_CPU, pinned_sha256: str | None = None
) -> LoadedModel:
    """Load, verify and open the artifact in the directory ``path``.

    ``pinned_sha256`` is the expected digest of its manifest.json. The caller warms the model up for its own
    batch sizes. Raises ModelError, which names the file or setting and the cure.
    """
    return open_artifact(Artifact.load(path, pinned_sha256), placement)


def open_artifact(artifact: Artifact, placement: Placement) -> LoadedModel:
    """Open an artifact that is already in memory. Raises ModelError as ``load_model``."""
    manifest = artifact.manifest
    return LoadedModel(_opened(artifact, placement), artifact.profiles, manifest.layout, manifest)


def _opened(artifact: Artifact, placement: Placement) -> Model:
    """Choose the runtime: a server where one is named, else what the artifact is made for."""
    manifest = artifact.manifest
    if placement.server is not None:
        from stream_infer.models.remote.remote_runtime import open_remote  # noqa: PLC0415 - few need it

        return open_remote(artifact, placement.server)
    return OnnxModel.open(artifact.model, (manifest.name, manifest.version), manifest.layout, placement)
