"""The runtime: the graph says what the formula says, and a graph that does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from stream_infer.errors import ModelError
from stream_infer.models import Artifact, OnnxModel, load_model
from stream_infer.models.families.forecast import Forecast
from stream_infer.models.graph import build_graph
from stream_infer.models.loading import open_artifact
from stream_infer.models.model import warm_up_model
from stream_infer.models.onnx_runtime import cuda_options, tensorrt_options
from stream_infer.models.onnx_scan import scan
from stream_infer.models.placement import Placement
from stream_infer.windows.layout import Layout


def layout_of(window: int, features: int, terms: int) -> Layout:
    return Layout(window, features, terms, (1.0,) * terms, (1e3,) * terms, "impute")


def graph_of(*nodes: onnx.NodeProto, **parts: object) -> onnx.ModelProto:
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", 5, 3])
    errors = helper.make_tensor_value_info("errors", TensorProto.FLOAT, ["n", 5, 3])
    graph = helper.make_graph(list(nodes), "g", [windows], [errors], parts.get("weights", []))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def test_batch_size_does_not_change_errors(forecast: Forecast) -> None:
    windows = np.random.default_rng(3).normal(size=(100, 5, 3)).astype(np.float32)
    model = OnnxModel.open(build_graph(5, 3, (forecast,)), ("small", "1"), layout_of(5, 3, 1))

    alone = np.concatenate([model.score(windows[row : row + 1]) for row in range(100)])

    np.testing.assert_allclose(model.score(windows), alone, atol=1e-5)
    assert model.score(windows[:0]).shape == (0, 1, 3)


def test_load_model_opens_and_warms_up(artifact: Artifact, tmp_path: Path) -> None:
    artifact.save(tmp_path / "small")

    model, profiles, layout, manifest, device = load_model(tmp_path / "small", pinned_sha256=artifact.sha256)

    assert warm_up_model(model, (1, 64)) > 0
    assert (model.name, model.version, model.layout) == ("small", "1", layout)
    assert profiles.names == artifact.profiles.names
    assert manifest.features == ("f0", "f1", "f2")
    assert device == "cpu"


@pytest.mark.parametrize("change", [{"window": 6}, {"features": 4}, {"terms": 2}])
def test_a_graph_of_another_shape_is_refused(artifact: Artifact, change: dict[str, int]) -> None:
    sizes = {"window": 5, "features": 3, "terms": 1} | change

    with pytest.raises(ModelError, match=r"windows: tensor\(float\)|errors: tensor\(float\)"):
        OnnxModel.open(artifact.model, ("small", "1"), layout_of(**sizes))


def test_a_fixed_batch_is_refused() -> None:
    model = graph_of(helper.make_node("Abs", ["windows"], ["errors"]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(ModelError, match="where the manifest says"):
        OnnxModel.open(model.SerializeToString(), ("small", "1"), layout_of(5, 3, 5))


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\x00"]
)
def test_bytes_that_are_no_model(content: bytes) -> None:
    with pytest.raises(ModelError, match="small 1"):
        OnnxModel.open(content, ("small", "1"), layout_of(5, 3, 1))


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_names_the_cure(
    artifact: Artifact, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(ModelError, match=r'onnxruntime-gpu.*model\.device = "cpu"'):
        OnnxModel.open(artifact.model, ("small", "1"), artifact.manifest.layout, Placement(device))


def test_what_a_gpu_is_told_keeps_precision_and_bounds_its_memory() -> None:
    placement = Placement("tensorrt", batch_max=2_000, memory_bytes=1 << 30)

    assert cuda_options(placement) == {"use_tf32": "0", "gpu_mem_limit": "1073741824"}
    assert tensorrt_options(placement, layout_of(5, 3, 1)) == {
        "trt_profile_min_shapes": "windows:1x5x3",
        "trt_profile_opt_shapes": "windows:512x5x3",
        "trt_profile_max_shapes": "windows:512x5x3",
        "trt_max_workspace_size": "1073741824",
    }


def test_a_silent_fallback_to_the_cpu_is_refused(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])

    # ONNX Runtime only warns of a provider that it does not have, and runs on the CPU.
    with pytest.warns(UserWarning, match="CUDA"), pytest.raises(ModelError, match="fell back to CPU"):
        OnnxModel.open(artifact.model, ("small", "1"), artifact.manifest.layout, Placement("cuda"))


@pytest.mark.parametrize(("device", "tried"), [("cuda", ["cuda"]), ("tensorrt", ["tensorrt", "cuda"])])
def test_with_fallback_the_next_device_is_taken_and_the_log_says_why(
    artifact: Artifact,
    device: str,
    tried: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with caplog.at_level("WARNING"):
        loaded = open_artifact(artifact, Placement(device, fallback=True))  # type: ignore[arg-type]

    assert loaded.device == "cpu"
    assert loaded.model.score(np.zeros((2, 5, 3), np.float32)).shape == (2, 1, 3)
    assert len(caplog.records) == len(tried)
    for record, name in zip(caplog.records, tried, strict=True):
        assert f"'{name}'" in str(record.__dict__)
        assert "onnxruntime-gpu" in str(record.__dict__)


def external_weights() -> bytes:
    weight = numpy_helper.from_array(np.ones(3, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/hostname")
    return graph_of(
        helper.make_node("Add", ["windows", "w"], ["errors"]), weights=[weight]
    ).SerializeToString()


def external_constant() -> bytes:
    weight = TensorProto(name="w", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../x")
    nodes = (
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Add", ["windows", "w"], ["errors"]),
    )
    return graph_of(*nodes).SerializeToString()


def nested() -> bytes:
    branch = helper.make_graph([], "b", [], [])
    return graph_of(
        helper.make_node("If", ["c"], ["errors"], then_branch=branch, else_branch=branch)
    ).SerializeToString()


def foreign_domain() -> bytes:
    return graph_of(helper.make_node("Run", ["windows"], ["errors"], domain="evil.ops")).SerializeToString()


def functions() -> bytes:
    model = graph_of(helper.make_node("F", ["windows"], ["errors"]))
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))
    return model.SerializeToString()


def sparse() -> bytes:
    model = graph_of(helper.make_node("Add", ["windows", "w"], ["errors"]))
    model.graph.sparse_initializer.add()
    return model.SerializeToString()


def endless() -> bytes:
    node = helper.make_node("Add", ["windows", "windows"], ["errors"])
    return graph_of(*[node] * 100_001).SerializeToString()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (endless(), "more than 100000 nodes"),
        (external_weights(), "external data"),
        (external_constant(), "external data"),
        (nested(), "nested graphs"),
        (foreign_domain(), "domain 'evil.ops'"),
        (functions(), "functions"),
        (sparse(), "sparse"),
    ],
)
def test_the_scan_refuses(content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        scan(content, "model x")


def test_the_scan_survives_any_bytes(artifact: Artifact) -> None:
    generator = np.random.default_rng(5)
    refused = 0
    for _ in range(2000):
        content = bytearray(artifact.model[: generator.integers(1, len(artifact.model))])
        for position in generator.integers(0, len(content), 3):
            content[position] = generator.integers(0, 256)
        try:
            scan(bytes(content), "model x")
        except ModelError:
            refused += 1
    assert refused > 1000
