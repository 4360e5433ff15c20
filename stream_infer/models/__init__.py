"""Models: the artifact on disk, the runtime that scores windows, and how both are made and measured.

    Artifact     manifest.json + profiles.npz + the model, every byte checked against the manifest
    Model        windows (n, W, F) -> errors (n, T, F): OnnxModel, or one of torch_runtime.py and remote/
    load_model   an artifact's directory -> what a Scorer needs

Training (``train``) and measuring (``evaluate``) are modules of their own, so that a worker never imports
what only they need.
"""

from stream_infer.models.artifact import Artifact
from stream_infer.models.loading import LoadedModel, load_model
from stream_infer.models.manifest import Manifest
from stream_infer.models.model import Model
from stream_infer.models.onnx_runtime import OnnxModel

__all__ = ["Artifact", "LoadedModel", "Manifest", "Model", "OnnxModel", "load_model"]
