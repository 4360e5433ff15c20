"""The ONNX graph of the recipe: windows (n, W, F) -> errors (n, T, F). Needs the extra ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream_infer.models.onnx_runtime import INPUT, OUTPUT

__all__ = ["Forecast", "Subspace", "build_graph"]

_OPSET = 17
_IR_VERSION = 9


@dataclass(frozen=True)
class Forecast:
    """The newest row from the ``lags`` rows before it: z_t = flat(rows before) @ weights + bias.

    Oldest row first. ``weights`` is (lags * F, F), ``bias`` (F).
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def lags(self) -> int:
        """Rows the forecast looks back."""
        return len(self.weights) // len(self.bias)


@dataclass(frozen=True)
class Subspace:
    """Principal components of flattened windows: ``center`` (W * F), ``basis`` (W * F, K) orthonormal."""

    center: NDArray[np.float64]
    basis: NDArray[np.float64]


def build_graph(window: int, forecast: Forecast, subspace: Subspace | None = None) -> bytes:
    """Return the bytes of ``model.onnx``. ``window`` is W; the forecast uses its newest ``lags + 1`` rows.

    Term 0 is the signed error of the forecast per feature. Term 1, with a subspace, is per feature the root
    of the mean square, over the window's rows, of what the subspace leaves of the window; the mean of its
    squares over the features is the residual energy divided by the dimension.
    """
    graph = _Graph(features=len(forecast.bias), window=window)
    term = graph.forecast_error(forecast)
    if subspace is not None:
        term = graph.node("Concat", [term, graph.residual(subspace)], axis=1)
    terms = 1 if subspace is None else 2
    return graph.serialize(term, terms)


class _Graph:
    """Collects nodes and weights; each method returns the name of its result."""

    def __init__(self, features: int, window: int) -> None:
        self.features = features
        self.window = window
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, values: NDArray[np.generic]) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def ints(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def reshape(self, tensor: str, *shape: int) -> str:
        return self.node("Reshape", [tensor, self.ints(*shape)])

    def forecast_error(self, forecast: Forecast) -> str:
        """z_t - forecast as ONE product over the flat window: the newest row's weights are the identity.

        A quarter more multiplications than the forecast alone, but no slice and no copy of the windows, and
        one operator in the place of five.
        """
        rows = forecast.lags + 1
        weights = np.concatenate([-forecast.weights, np.eye(self.features)])
        tensor = INPUT
        if rows < self.window:
            newest = [self.ints(self.window - rows), self.ints(self.window), self.ints(1)]
            tensor = self.node("Slice", [tensor, *newest])
        flat = self.reshape(tensor, -1, rows * self.features)
        error = self.node("Gemm", [flat, self._float(weights), self._float(-forecast.bias)])
        return self.reshape(error, -1, 1, self.features)

    def residual(self, subspace: Subspace) -> str:
        flat = self.reshape(INPUT, -1, self.window * self.features)
        centered = self.node("Sub", [flat, self._float(subspace.center)])
        inside = self.node("MatMul", [centered, self._float(subspace.basis)])
        rebuilt = self.node("MatMul", [inside, self._float(subspace.basis.T)])
        left = self.reshape(self.node("Sub", [centered, rebuilt]), -1, self.window, self.features)
        energy = self.node("ReduceMean", [self.node("Mul", [left, left])], axes=[1], keepdims=1)
        return self.node("Sqrt", [energy])

    def _float(self, values: NDArray[np.float64]) -> str:
        return self.weight(values.astype(np.float32))

    def serialize(self, result: str, terms: int) -> bytes:
        self.nodes.append(helper.make_node("Identity", [result], [OUTPUT]))
        windows = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", self.window, self.features])
        errors = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", terms, self.features])
        graph = helper.make_graph(self.nodes, "stream_infer", [windows], [errors], self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="stream-infer"
        )
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content
