"""The ONNX graph of a model: windows (n, W, F) -> errors (n, T, F). Needs the extra ``train``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stream_infer.models.onnx_runtime import INPUT, OUTPUT

__all__ = ["Graph", "Node", "build_graph"]

_OPSET = 17
_IR_VERSION = 9


class Node(Protocol):
    """Something that writes one term into a graph."""

    def node(self, graph: Graph) -> str:
        """Add operators that end in a tensor (n, 1, F), and return its name."""


class Graph:
    """Collects operators and weights; each method returns the name of its result.

    ``window`` W and ``features`` F are those of the input.
    """

    def __init__(self, window: int, features: int) -> None:
        self.window = window
        self.features = features
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def apply(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator."""
        output = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def floats(self, values: NDArray[np.floating]) -> str:
        """Add weights, as float32."""
        return self._weight(values.astype(np.float32))

    def ints(self, *values: int) -> str:
        """Add whole numbers, such as a shape."""
        return self._weight(np.array(values, np.int64))

    def reshape(self, tensor: str, *shape: int) -> str:
        """Give a tensor another shape; -1 stands for the rest."""
        return self.apply("Reshape", tensor, self.ints(*shape))

    def newest(self, rows: int) -> str:
        """Return the newest ``rows`` rows of the window (n, rows, F)."""
        return self._slice(INPUT, self.window - rows, self.window) if rows < self.window else INPUT

    def flat(self, rows: int) -> str:
        """Return the newest ``rows`` rows, oldest first, end to end (n, rows * F)."""
        return self.reshape(self.newest(rows), -1, rows * self.features)

    def root_mean_square(self, flat: str, rows: int) -> str:
        """Per feature over ``rows`` rows that lie end to end: (n, rows * F) -> (n, 1, F)."""
        apart = self.reshape(flat, -1, rows, self.features)
        energy = self.apply("ReduceMean", self.apply("Mul", apart, apart), axes=[1], keepdims=1)
        return self.apply("Sqrt", energy)

    def serialize(self, terms: Sequence[str]) -> bytes:
        """Return the bytes of ``model.onnx``; the terms are tensors (n, 1, F)."""
        result = self.apply("Concat", *terms, axis=1) if len(terms) > 1 else terms[0]
        nodes = [*self._nodes, helper.make_node("Identity", [result], [OUTPUT])]
        windows = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", self.window, self.features])
        errors = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(terms), self.features])
        graph = helper.make_graph(nodes, "stream_infer", [windows], [errors], self._weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="stream-infer"
        )
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _slice(self, tensor: str, start: int, end: int) -> str:
        return self.apply("Slice", tensor, self.ints(start), self.ints(end), self.ints(1))

    def _weight(self, values: NDArray[np.generic]) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def build_graph(window: int, features: int, parts: Sequence[Node]) -> bytes:
    """Return the bytes of ``model.onnx``: term t is what ``parts[t]`` writes."""
    graph = Graph(window, features)
    return graph.serialize([part.node(graph) for part in parts])
