"""A look at an ONNX file before ONNX Runtime sees it.

A hostile model file can name other files as its weights (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489) or
nest graphs and functions without bound. A model of this project needs neither, so both are refused. The scan
walks the protobuf wire format alone, with the field numbers of onnx.proto, and skips weights by their length: the
``onnx`` package is not needed to run a model.
"""

from __future__ import annotations

from stream_infer.errors import ModelError
from stream_infer.models.protobuf import fields, message

__all__ = ["scan"]

_DOMAINS = {b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"}
_NODE_LIMIT = 100_000

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


def scan(content: bytes, source: str) -> None:
    """Refuse a model that reaches beyond its own bytes. ``source`` names the file in the error.

    Raises ModelError for external weights, sparse weights, nested graphs, functions, operators of foreign
    domains, more than 100,000 nodes, or bytes that are no protobuf message.
    """
    try:
        _scan_model(memoryview(content))
    except ValueError as error:
        raise ModelError(f"{source}: refused: {error}; export the model without it") from None


def _scan_model(model: memoryview) -> None:
    graphs = 0
    for number, value in fields(model):
        if number == _MODEL_FUNCTIONS:
            raise ValueError("it defines functions")
        if number == _MODEL_OPSET:
            for inner, domain in fields(message(value)):
                if inner == _OPSET_DOMAIN:
                    _check_domain(domain)
        if number == _MODEL_GRAPH:
            graphs += 1
            _scan_graph(message(value))
    if graphs != 1:
        raise ValueError("it is not an ONNX model with one graph")


def _scan_graph(graph: memoryview) -> None:
    nodes = 0
    for number, value in fields(graph):
        if number == _GRAPH_NODE:
            nodes += 1
            _scan_node(message(value))
        elif number == _GRAPH_INITIALIZER:
            _scan_tensor(message(value))
        elif number == _GRAPH_SPARSE:
            raise ValueError("it has sparse weights")
    if nodes > _NODE_LIMIT:
        raise ValueError(f"it has more than {_NODE_LIMIT} nodes")


def _scan_node(node: memoryview) -> None:
    for number, value in fields(node):
        if number == _NODE_DOMAIN:
            _check_domain(value)
        elif number == _NODE_ATTRIBUTE:
            _scan_attribute(message(value))


def _scan_attribute(attribute: memoryview) -> None:
    for number, value in fields(attribute):
        if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            raise ValueError("it has nested graphs (If, Loop or Scan)")
        if number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            raise ValueError("it has sparse weights")
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _scan_tensor(message(value))


def _scan_tensor(tensor: memoryview) -> None:
    for number, value in fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ValueError("its weights are in another file (external data)")


def _check_domain(value: int | memoryview) -> None:
    domain = bytes(message(value))
    if domain not in _DOMAINS:
        raise ValueError(f"it uses operators of the domain {domain[:64].decode(errors='replace')!r}")
