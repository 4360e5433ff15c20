"""Servers asked by JSON: the Open Inference Protocol (KServe V2), BentoML, TensorFlow Serving."""

from __future__ import annotations

import operator
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.onnx_runtime import INPUT, OUTPUT
from stream_infer.models.remote.asking import Unanswered
from stream_infer.models.remote.http import JsonClient

__all__ = ["BentoMl", "OpenInferenceRest", "TensorFlowServing"]

_Windows = NDArray[np.float32]


class _Posting:
    """Posts JSON to one path."""

    def __init__(self, client: JsonClient, path: str) -> None:
        self._client = client
        self._path = path

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class OpenInferenceRest(_Posting):
    """``POST /v2/models/NAME[/versions/VERSION]/infer``: MLServer, Triton, KServe, OpenVINO.

    https://github.com/kserve/open-inference-protocol
    """

    def __init__(self, client: JsonClient, name: str, version: str | None) -> None:
        super().__init__(client, f"/v2/models/{_versioned(name, version)}/infer")

    def ask(self, windows: _Windows, timeout_s: float) -> _Windows:
        """Tensors go flat, with their shape beside them."""
        tensor = {
            "name": INPUT,
            "datatype": "FP32",
            "shape": list(windows.shape),
            "data": windows.ravel().tolist(),
        }
        said = self._client.post(self._path, {"inputs": [tensor], "outputs": [{"name": OUTPUT}]}, timeout_s)
        for output in _listed(said, "outputs"):
            if isinstance(output, dict) and output.get("name") == OUTPUT:
                return _shaped(_array(output.get("data")), output.get("shape"))
        raise Unanswered(f"{self._path} answers without an output {OUTPUT}")


class BentoMl(_Posting):
    """``POST /NAME``, the endpoint of a BentoML service: ``def NAME(self, windows: np.ndarray) -> np.ndarray``."""

    def __init__(self, client: JsonClient, name: str) -> None:
        super().__init__(client, f"/{quote(name)}")

    def ask(self, windows: _Windows, timeout_s: float) -> _Windows:
        """Arguments by name; the answer is the array alone."""
        return _array(self._client.post(self._path, {INPUT: windows.tolist()}, timeout_s))


class TensorFlowServing(_Posting):
    """``POST /v1/models/NAME[/versions/VERSION]:predict``, in columns.

    https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md
    """

    def __init__(self, client: JsonClient, name: str, version: str | None) -> None:
        super().__init__(client, f"/v1/models/{_versioned(name, version)}:predict")

    def ask(self, windows: _Windows, timeout_s: float) -> _Windows:
        """With one output the answer is its array, with several a table of them by name."""
        said = self._client.post(self._path, {"inputs": {INPUT: windows.tolist()}}, timeout_s)
        outputs = said.get("outputs") if isinstance(said, dict) else None
        if isinstance(outputs, dict):
            outputs = outputs.get(OUTPUT)
        if outputs is None:
            raise Unanswered(f"{self._path} answers without an output {OUTPUT}")
        return _array(outputs)


def _versioned(name: str, version: str | None) -> str:
    return quote(name) if not version else f"{quote(name)}/versions/{quote(version)}"


def _listed(said: Any, name: str) -> list[Any]:
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, list) else []


def _array(data: Any) -> _Windows:
    """Numbers of any nesting; null, which is how JSON writes NaN, becomes NaN."""
    try:
        with np.errstate(over="ignore"):
            return np.asarray(data, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise Unanswered("answers what are not numbers of one shape") from None


def _shaped(numbers: _Windows, shape: Any) -> _Windows:
    try:
        return numbers.reshape([operator.index(size) for size in shape])
    except (TypeError, ValueError):
        raise Unanswered(f"answers {numbers.size} numbers as of shape {shape!r:.50}") from None
