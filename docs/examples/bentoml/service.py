"""A BentoML service that runs an artifact's ``model.onnx``: ``bentoml serve service:Detector``.

STREAM_INFER_MODEL names the file.
"""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Detector:
    """Windows (n, W, F) in, errors (n, T, F) out."""

    def __init__(self) -> None:
        self._session = onnxruntime.InferenceSession(os.environ["STREAM_INFER_MODEL"])

    @bentoml.api
    def score(self, windows: np.ndarray) -> np.ndarray:
        """One answer per request: ``POST /score``."""
        (errors,) = self._session.run(["errors"], {"windows": windows.astype(np.float32)})
        return errors
