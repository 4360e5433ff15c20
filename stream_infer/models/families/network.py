"""Four dense layers, in numpy and as part of a graph; whoever trains them, no torch is needed to run them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.graph import Graph

__all__ = ["Dense", "Network"]

Dense = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights (inputs, outputs) and bias (outputs) of one layer."""

_RAMPS = (0, 2)


@dataclass(frozen=True)
class Network:
    """Inputs -> hidden -> middle -> hidden -> outputs, with a ramp (ReLU) after the first and the third layer."""

    layers: tuple[Dense, Dense, Dense, Dense]

    @property
    def inputs(self) -> int:
        """Numbers that go in."""
        return len(self.layers[0][0])

    def node(self, graph: Graph, tensor: str) -> str:
        """Add the layers behind a tensor (n, inputs); the result is (n, outputs)."""
        for number, (weights, bias) in enumerate(self.layers):
            tensor = graph.apply("Gemm", tensor, graph.floats(weights), graph.floats(bias))
            if number in _RAMPS:
                tensor = graph.apply("Relu", tensor)
        return tensor

    def outputs(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of values (n, inputs), in numpy."""
        for number, (weights, bias) in enumerate(self.layers):
            values = values @ weights + bias
            if number in _RAMPS:
                values = np.maximum(values, 0)
        return values
