"""The program of a torch artifact as it is read: hostile files are refused, without torch at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.artifact import TORCH_MODEL, Artifact
from stream_infer.models.export.convert import convert
from stream_infer.models.loading import open_artifact
from stream_infer.models.placement import ON_CPU
from stream_infer.models.torch_program import Call, Named, pack, unpack

WEIGHTS = {"w": np.arange(12, dtype=np.float32).reshape(3, 4)}


def tensor(name: str) -> dict[str, Any]:
    return {"as_tensor": {"name": name}}


def argument(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "arg": value, "kind": 1}


def program() -> dict[str, Any]:
    """windows @ w, summed over the first axis, in the form that torch.export writes."""
    nodes = [
        {
            "target": "torch.ops.aten.matmul.default",
            "inputs": [argument("self", tensor("windows")), argument("other", tensor("b_w"))],
            "outputs": [tensor("matmul")],
            "metadata": {"stack_trace": "/home/somebody/model.py"},
        },
        {
            "target": "torch.ops.aten.sum.dim_IntList",
            "inputs": [
                argument("self", tensor("matmul")),
                argument("dim", {"as_ints": [1]}),
                argument("keepdim", {"as_bool": True}),
            ],
            "outputs": [tensor("sum_1")],
            "metadata": {},
        },
    ]
    return {
        "schema_version": {"major": 8, "minor": 20},
        "graph_module": {
            "graph": {"inputs": [], "outputs": [tensor("sum_1")], "nodes": nodes},
            "signature": {
                "input_specs": [
                    {"buffer": {"arg": {"name": "b_w"}, "buffer_name": "w", "persistent": True}},
                    {"user_input": {"arg": tensor("windows")}},
                ],
                "output_specs": [{"user_output": {"arg": tensor("sum_1")}}],
            },
        },
    }


def packed(told: dict[str, Any]) -> bytes:
    return pack(json.dumps(told).encode(), dict(WEIGHTS))


def test_what_was_packed_is_read_and_no_path_of_the_exporter_is_kept() -> None:
    content = packed(program())
    found = unpack(content, "made")
    assert (found.given, found.wanted) == ("windows", "sum_1")
    np.testing.assert_array_equal(found.weights["b_w"], WEIGHTS["w"])
    assert found.calls[1] == Call(
        "torch.ops.aten.sum.dim_IntList", (Named("matmul"), (1,), True), (), "sum_1"
    )
    assert b"somebody" not in content


def first(told: dict[str, Any]) -> dict[str, Any]:
    return told["graph_module"]["graph"]["nodes"][0]  # type: ignore[no-any-return]


def target(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda told: first(told).update(target=name)


def takes(value: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda told: first(told)["inputs"].__setitem__(1, argument("other", value))


def gives(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda told: first(told).update(outputs=[tensor(name)])


def spec(value: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["graph_module"]["signature"]["input_specs"].append(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (target("torch.ops.aten.from_file.default"), "operator 'torch.ops.aten.from_file"),
        (target("os.system"), "operator 'os.system'"),
        (target("torch.ops.higher_order.cond"), "operator"),
        (target("torch.ops.aten.matmul.default.__globals__"), "operator"),
        (takes({"as_expr": {"expr_str": "__import__('os').system('id')"}}), "takes 'as_expr'"),
        (takes({"as_sym_int": {"as_name": "s0"}}), "takes 'as_sym_int'"),
        (takes({"as_string": "x"}), "takes 'as_string'"),
        (takes({"as_custom_obj": {"name": "x", "class_fqn": "os.system"}}), "takes 'as_custom_obj'"),
        (takes({"as_graph": {"name": "x", "graph": {}}}), "takes 'as_graph'"),
        (takes({"as_int": "7"}), "takes 'as_int'"),
        (takes(tensor("sum_1")), "used before it is made"),
        (gives("b_w"), "made twice"),
        (gives("a; import os"), "is no name"),
        (gives("x" * 300), "is no name"),
        (spec({"custom_obj": {"arg": {"name": "x", "class_fqn": "y"}}}), "kind 'custom_obj'"),
        (spec({"tensor_constant": {"arg": {"name": "x"}}}), "kind 'tensor_constant'"),
        (spec({"user_input": {"arg": tensor("y")}}), "takes 2 tensors"),
        (spec({"parameter": {"arg": {"name": "p"}, "parameter_name": "absent"}}), "lacks 'absent'"),
        (lambda told: told["schema_version"].update(major=9), "schema of version 8"),
        (
            lambda told: told["graph_module"]["graph"].update(
                nodes=told["graph_module"]["graph"]["nodes"] * 5001
            ),
            "more than 10000",
        ),
    ],
)
def test_hostile_programs_are_refused(change: Callable[[dict[str, Any]], None], words: str) -> None:
    told = program()
    change(told)
    with pytest.raises(ModelError, match=f"made: refused: .*{words}.*export --to torch"):
        unpack(packed(told), "made")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95pickle",
        b"PK\x03\x04" + b"\0" * 60,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (40).to_bytes(8, "little") + b'{"a":{"dtype":"I64","data_offsets":[0,0]',
        (90).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[0,%d],"data_offsets":[0,0]}}' % 10**30
        + b" " * 60,
    ],
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="made: refused"):
        unpack(content, "made")


@given(
    cut=st.integers(0, 3000),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(cut: int, changes: list[tuple[int, int]]) -> None:
    content = bytearray(packed(program()))
    for at, value in changes:
        content[at % len(content)] = value
    try:
        unpack(bytes(content[: len(content) - cut % 50]), "made")
    except ModelError:
        return


def test_without_torch_the_artifact_says_what_to_install(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.delitem(__import__("sys").modules, "stream_infer.models.torch_runtime", raising=False)
    made = Artifact.of(artifact.manifest, packed(program()), artifact.profiles, TORCH_MODEL)
    with pytest.raises(ModelError, match=r"pip install 'stream-infer\[torch\]'"):
        open_artifact(made, ON_CPU)


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is in this environment")
def test_export_without_torch_says_what_to_install(artifact: Artifact) -> None:
    with pytest.raises(ModelError, match=r"export to torch needs .*pip install 'stream-infer\[torch\]'"):
        convert(artifact.model, "torch")


def test_a_torch_artifact_is_written_and_read(artifact: Artifact, tmp_path: Any) -> None:
    made = Artifact.of(artifact.manifest, packed(program()), artifact.profiles, TORCH_MODEL)
    made.save(tmp_path / "t")
    found = Artifact.load(tmp_path / "t", made.sha256)
    assert (found.file, found.model) == (TORCH_MODEL, made.model)
    assert found.altered(found.manifest).file == TORCH_MODEL
