"""The file ``model.safetensors``: a program of ``torch.export`` as JSON, and its weights, in one file without a pickle.

What ``torch.export.save`` writes may hold pickles, and torch reads its sizes through ``eval`` (sympy). So
torch does not read it: this module takes the JSON of the graph (torch's ``export_schema.thrift``) as data, and gives
only what it knows: operators of a short list, tensors by name, plain numbers. It needs no torch; torch_runtime.py makes
a graph of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError

__all__ = ["OPERATORS", "Call", "Named", "Program", "pack", "unpack"]

OPERATORS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "abs.default", "add.Tensor", "addmm.default", "cat.default", "clamp.default", "div.Tensor", "gelu.default",
        "layer_norm.default", "linear.default", "matmul.default", "mean.dim", "mm.default", "mul.Tensor", "neg.default",
        "permute.default", "pow.Tensor_Scalar", "relu.default", "reshape.default", "sigmoid.default", "slice.Tensor",
        "softmax.int", "sqrt.default", "sub.Tensor", "sum.dim_IntList", "t.default", "tanh.default", "transpose.int",
        "unsqueeze.default", "view.default",
    )
)  # fmt: skip
"""Pure functions of tensors; none reads a file, draws a random number, or gives a tensor whose size hangs on values."""

_SCHEMA = 8
_KEY = "program"
_NODES_MAX = 10_000
_HEADER_BYTES_MAX = 32 << 20
_PLAIN = {"as_int": (int,), "as_float": (float, int), "as_bool": (bool,), "as_none": (bool, type(None))}
_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


@dataclass(frozen=True)
class Named:
    """A tensor: a weight, the windows, or what a call gave."""

    name: str


Value = Named | int | float | bool | None | tuple["Named | int", ...]


@dataclass(frozen=True)
class Call:
    """One operator: ``result`` names what it gives."""

    operator: str
    positional: tuple[Value, ...]
    by_name: tuple[tuple[str, Value], ...]
    result: str


@dataclass(frozen=True)
class Program:
    """Calls in order. ``weights`` says by what name a weight's tensor goes; one tensor comes in, one goes out."""

    weights: dict[str, NDArray[np.floating]]
    given: str
    calls: tuple[Call, ...]
    wanted: str


def pack(program: bytes, weights: dict[str, NDArray[np.floating]]) -> bytes:
    """The bytes of ``model.safetensors``, from the JSON that torch.export writes. Needs the package safetensors."""
    from safetensors.numpy import save  # noqa: PLC0415 - an extra

    told = json.loads(program)
    graph = told["graph_module"]["graph"]
    for node in graph["nodes"]:
        node["metadata"] = {}  # stack traces: paths of the machine that exported
    kept = {
        "schema_version": told["schema_version"],
        "graph_module": {
            "graph": {"inputs": graph["inputs"], "outputs": graph["outputs"], "nodes": graph["nodes"]},
            "signature": told["graph_module"]["signature"],
        },
    }
    packed: bytes = save(weights, {_KEY: json.dumps(kept, sort_keys=True)})
    return packed


def unpack(content: bytes, source: str) -> Program:
    """Read ``model.safetensors``; ``source`` names it in the error. Raises ModelError for whatever is not known."""
    try:
        header, body = _header(content)
        told = json.loads(header.pop("__metadata__", {}).get(_KEY, "null"))
        return _program(told, _weights(header, body))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{source}: refused: {said}; make it anew with `stream-infer export --to torch`"
        ) from None


def _header(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The table at the beginning, and the numbers behind it (https://github.com/huggingface/safetensors#format)."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(_HEADER_BYTES_MAX, len(content) - 8):
        raise ValueError("it is no safetensors file, or cut short")
    header = json.loads(content[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("its header is no table")  # noqa: TRY004
    return header, memoryview(content)[8 + size :]


def _weights(header: dict[str, Any], body: memoryview) -> dict[str, NDArray[np.floating]]:
    weights: dict[str, NDArray[np.floating]] = {}
    for name, entry in header.items():
        kind = _FLOATS.get(entry["dtype"])
        if kind is None:
            raise ValueError(
                f"weight {name[:64]!r} is {str(entry['dtype'])[:16]}, not of {', '.join(_FLOATS)}"
            )
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError("it is cut short")
        shape = [_whole(size) for size in entry["shape"]]
        weights[name] = np.frombuffer(body[start:end], kind).reshape(shape).copy()
    return weights


def _program(told: Any, weights: dict[str, NDArray[np.floating]]) -> Program:
    if not isinstance(told, dict) or told["schema_version"]["major"] != _SCHEMA:
        raise ValueError(f"it holds no program of torch.export with a schema of version {_SCHEMA}")
    module = told["graph_module"]
    given, named = _inputs(module["signature"]["input_specs"], weights)
    (wanted,) = module["signature"]["output_specs"]
    nodes = module["graph"]["nodes"]
    if len(nodes) > _NODES_MAX:
        raise ValueError(f"it has more than {_NODES_MAX} operators")
    known = {given, *named}
    calls = []
    for node in nodes:
        call = _call(node, known)
        if call.result in known:
            raise ValueError(f"the tensor {call.result!r} is made twice")
        known.add(call.result)
        calls.append(call)
    result = _known(wanted["user_output"]["arg"]["as_tensor"], known)
    return Program(named, given, tuple(calls), result.name)


def _inputs(
    specs: list[dict[str, Any]], weights: dict[str, NDArray[np.floating]]
) -> tuple[str, dict[str, NDArray[np.floating]]]:
    """The name of the windows, and the weights by their names in the graph."""
    given: list[str] = []
    named = {}
    for spec in specs:
        ((kind, told),) = spec.items()
        if kind == "user_input":
            given.append(_name(told["arg"]["as_tensor"]))
        elif kind in ("parameter", "buffer"):
            named[_name(told["arg"])] = weights[told[f"{kind}_name"]]
        else:
            raise ValueError(f"it takes an input of the kind {str(kind)[:32]!r}")
    if len(given) != 1:
        raise ValueError(f"it takes {len(given)} tensors beside its weights, not one")
    return given[0], named


def _call(node: dict[str, Any], known: set[str]) -> Call:
    operator = node["target"]
    if operator not in OPERATORS:
        raise ValueError(f"it uses the operator {str(operator)[:64]!r}")
    (output,) = node["outputs"]
    positional: list[Value] = []
    by_name: list[tuple[str, Value]] = []
    for argument in node["inputs"]:
        value = _value(argument["arg"], known)
        if argument["kind"] == 1 and not by_name:
            positional.append(value)
        else:
            by_name.append((_text(argument["name"]), value))
    return Call(operator, tuple(positional), tuple(by_name), _name(output["as_tensor"]))


def _value(told: dict[str, Any], known: set[str]) -> Value:
    ((kind, value),) = told.items()
    if kind == "as_tensor":
        return _known(value, known)
    if kind == "as_tensors":
        return tuple(_known(one, known) for one in value)
    if kind == "as_ints":
        return tuple(_whole(one) for one in value)
    plain = _PLAIN.get(kind)
    if plain is None or type(value) not in plain:
        raise ValueError(f"an operator takes {str(kind)[:32]!r}")
    return None if kind == "as_none" else value


def _known(told: dict[str, Any], known: set[str]) -> Named:
    name = _name(told)
    if name not in known:
        raise ValueError(f"the tensor {name!r} is used before it is made")
    return Named(name)


def _name(told: dict[str, Any]) -> str:
    return _text(told["name"])


def _text(value: Any) -> str:
    """A name: it becomes a Python name in the graph."""
    if not isinstance(value, str) or not value.isidentifier() or len(value) > 256:
        raise ValueError(f"{str(value)[:64]!r} is no name")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{str(value)[:32]!r} is no whole number")  # noqa: TRY004
    return value
