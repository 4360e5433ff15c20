"""From an artifact's directory to what a Scorer needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stream_infer.errors import ModelError
from stream_infer.models.artifact import TORCH_MODEL, Artifact
from stream_infer.models.manifest import Manifest
from stream_infer.models.model import Model
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import ON_CPU, Placement, first_usable
from stream_infer.models.rehearsal import rehearse
from stream_infer.windows.layout import Layout
from stream_infer.windows.profiles import Profiles

if TYPE_CHECKING:
    from stream_infer.models.torch_runtime import TorchModel

__all__ = ["LoadedModel", "load_model", "open_artifact", "runtime_of"]


class LoadedModel(NamedTuple):
    """A model ready to score, with what training learned. ``device``: where it runs, a device's name or ``server``."""

    model: Model
    profiles: Profiles
    layout: Layout
    manifest: Manifest
    device: str


def load_model(
    path: Path | str, placement: Placement = ON_CPU, pinned_sha256: str | None = None
) -> LoadedModel:
    """Load, verify and open the artifact in the directory ``path``, once a child process has survived opening it.

    ``pinned_sha256`` is the expected digest of its manifest.json. The caller warms the model up for its own
    batch sizes. Raises ModelError, which names the file or setting and the cure.
    """
    artifact = Artifact.load(path, pinned_sha256)
    if placement.server is None:
        rehearse(artifact, path, placement)
    return open_artifact(artifact, placement)


def open_artifact(artifact: Artifact, placement: Placement) -> LoadedModel:
    """Open an artifact that this process made, or rehearsed. Raises ModelError as ``load_model``."""
    manifest = artifact.manifest
    model, device = _opened(artifact, placement)
    return LoadedModel(model, artifact.profiles, manifest.layout, manifest, device)


def _opened(artifact: Artifact, placement: Placement) -> tuple[Model, str]:
    """Choose the runtime: a server where one is named, else what the artifact is made for."""
    if placement.server is not None:
        from stream_infer.models.remote.remote_runtime import open_remote  # noqa: PLC0415 - few need it

        return open_remote(artifact, placement.server), "server"
    manifest = artifact.manifest
    runtime = runtime_of(artifact.file)

    def open_on(placed: Placement) -> Model:
        return runtime.open(artifact.model, (manifest.name, manifest.version), manifest.layout, placed)

    return first_usable(placement, open_on)


def runtime_of(file: str) -> type[OnnxModel] | type[TorchModel]:
    """What opens a model file of this name. Raises ModelError where it is not installed."""
    if file != TORCH_MODEL:
        return OnnxModel
    try:
        from stream_infer.models.torch_runtime import TorchModel  # noqa: PLC0415 - an extra, and slow
    except ImportError as error:
        raise ModelError(
            f"the artifact is one for torch, which cannot be imported here ({error}); run: "
            "pip install 'stream-infer[torch]', or take the artifact that it was exported from"
        ) from None
    return TorchModel
