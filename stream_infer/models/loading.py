"""From an artifact's directory to what a Scorer needs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stream_infer.models.artifact import Artifact
from stream_infer.models.manifest import Manifest
from stream_infer.models.model import Model
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import Device, Placement
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
    path: Path | str,
    device: Device = "cpu",
    pinned_sha256: str | None = None,
    threads: int = 1,
    batch_max: int = 4096,
) -> LoadedModel:
    """Load, verify and open the artifact in the directory ``path``.

    ``pinned_sha256`` is the expected digest of its manifest.json. The caller warms the model up for its own
    batch sizes. Raises ModelError, which names the file or setting and the cure.
    """
    return open_artifact(Artifact.load(path, pinned_sha256), Placement(device, threads, batch_max))


def open_artifact(artifact: Artifact, placement: Placement) -> LoadedModel:
    """Open an artifact that is already in memory. Raises ModelError as ``load_model``."""
    manifest = artifact.manifest
    layout = manifest.layout
    model = OnnxModel.open(artifact.model, (manifest.name, manifest.version), layout, placement)
    return LoadedModel(model, artifact.profiles, layout, manifest)
