"""The graph of ``model.onnx`` -> a program of ``torch.export``. Needs the extra ``torch``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from stream_infer.models.onnx_runtime import INPUT, OUTPUT
from stream_infer.models.torch_program import pack

__all__ = ["to_torch"]

_PROGRAM = "archive/models/model.json"
_SOME_WINDOWS = 3

Tensors = dict[str, Any]


def to_torch(content: bytes) -> bytes:
    """The bytes of ``model.safetensors``. Raises ValueError for an operator that training does not write."""
    model = onnx.load_from_string(content)
    module = _Graph(model.graph)
    (given,) = (value for value in model.graph.input if value.name == INPUT)
    shape = [size.dim_value for size in given.type.tensor_type.shape.dim]
    windows = torch.zeros((_SOME_WINDOWS, *shape[1:]))
    batch = torch.export.Dim("n", min=0)
    program = torch.export.export(module, (windows,), dynamic_shapes={"windows": {0: batch}})
    archive = io.BytesIO()
    torch.export.save(program, archive)
    with zipfile.ZipFile(
        archive
    ) as files:  # its weights may be pickles: they are taken from the program itself
        told = files.read(_PROGRAM)
    return pack(told, {name: value.detach().numpy() for name, value in program.state_dict.items()})


class _Graph(torch.nn.Module):  # type: ignore[misc]
    """An ONNX graph whose operators are those that training writes (models/graph.py)."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__()
        self._nodes = list(graph.node)
        self._numbers: dict[str, list[int]] = {}
        self._weights: list[str] = []
        for tensor in graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype.kind == "i":
                self._numbers[tensor.name] = values.ravel().tolist()
            else:
                self._weights.append(tensor.name)
                self.register_buffer(tensor.name, torch.from_numpy(np.array(values)))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows (n, W, F) -> errors (n, T, F)."""
        tensors: Tensors = {name: getattr(self, name) for name in self._weights}
        tensors |= self._numbers
        tensors[INPUT] = windows
        for node in self._nodes:
            write = _OPERATORS.get(node.op_type) if not node.domain else None
            if write is None:
                raise ValueError(
                    f"the operator {node.op_type} has no form in torch; export what training made"
                )
            given = {
                attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
            }
            tensors[node.output[0]] = write([tensors[name] for name in node.input], given)
        errors: torch.Tensor = tensors[OUTPUT]
        return errors


Operator = Callable[[list[Any], dict[str, Any]], torch.Tensor]


def _gemm(inputs: list[Any], given: dict[str, Any]) -> torch.Tensor:
    if given:
        raise ValueError(f"Gemm with {', '.join(given)} has no form in torch")
    return torch.addmm(inputs[2], inputs[0], inputs[1])


def _slice(inputs: list[Any], _: dict[str, Any]) -> torch.Tensor:
    tensor, starts, ends, axes = inputs
    for start, end, axis in zip(starts, ends, axes, strict=True):
        tensor = torch.ops.aten.slice.Tensor(tensor, axis, start, end)
    return tensor


def _mean(inputs: list[Any], given: dict[str, Any]) -> torch.Tensor:
    return inputs[0].mean(dim=list(given["axes"]), keepdim=bool(given["keepdims"]))


def _sum(inputs: list[Any], given: dict[str, Any]) -> torch.Tensor:
    return inputs[0].sum(dim=inputs[1], keepdim=bool(given["keepdims"]))


_OPERATORS: dict[str, Operator] = {
    "Concat": lambda inputs, given: torch.cat(inputs, given["axis"]),
    "Gemm": _gemm,
    "Identity": lambda inputs, _: inputs[0],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "Relu": lambda inputs, _: torch.relu(inputs[0]),
    "Reshape": lambda inputs, _: inputs[0].reshape(inputs[1]),
    "Slice": _slice,
    "Sqrt": lambda inputs, _: torch.sqrt(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
}
