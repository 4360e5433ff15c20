"""The runtime `torch`, against the contract of all, and against ONNX Runtime."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip(
    "torch", reason="torch is not in this environment: make test-torch makes one that has it"
)

from stream_infer.cli import main  # noqa: E402
from stream_infer.data import sample_path  # noqa: E402
from stream_infer.errors import ModelError  # noqa: E402
from stream_infer.models.artifact import TORCH_MODEL, Artifact  # noqa: E402
from stream_infer.models.export.convert import convert  # noqa: E402
from stream_infer.models.families import autoencoder_training  # noqa: E402
from stream_infer.models.graph import build_graph  # noqa: E402
from stream_infer.models.loading import load_model, open_artifact  # noqa: E402
from stream_infer.models.model import Model  # noqa: E402
from stream_infer.models.placement import ON_CPU, Placement  # noqa: E402
from stream_infer.models.torch_graphs import Buckets, Recorded  # noqa: E402
from stream_infer.models.torch_program import unpack  # noqa: E402
from stream_infer.models.torch_runtime import TorchModel, built, memory_share  # noqa: E402
from stream_infer.windows.layout import Layout  # noqa: E402
from tests.runtimes import FEATURES, ROWS, RuntimeContract, drawn_artifact, reference, some_windows  # noqa: E402
from tests.unit.models.test_families import PARTS, drawn  # noqa: E402

pytestmark = pytest.mark.timeout(900)
SOURCE = drawn_artifact()


def exported() -> Artifact:
    return Artifact.of(SOURCE.manifest, convert(SOURCE.model, "torch"), SOURCE.profiles, TORCH_MODEL)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return exported()


class TestTorch(RuntimeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Callable[[], Model]:
        made = exported()
        return lambda: open_artifact(made, ON_CPU).model


class TestInBuckets(RuntimeContract):
    """What a GPU does with a batch, but for the device: buckets that are recorded once and hold what was before."""

    @pytest.fixture(scope="class")
    @classmethod
    def open_model(cls) -> Callable[[], Model]:
        module = built(unpack(exported().model, "made"))

        def record(size: int) -> Recorded:
            windows = torch.zeros((size, ROWS, FEATURES))
            errors = module(windows)
            return Recorded(windows, errors, lambda: errors.copy_(module(windows)))

        return lambda: TorchModel(Buckets(record, 100), "contract", "1", SOURCE.manifest.layout)


@settings(max_examples=12)
@given(PARTS, st.integers(1, 5), st.integers(0, 2))
def test_whatever_training_makes_says_the_same_in_torch(
    kinds: list[tuple[str, int, int]], features: int, more: int
) -> None:
    """Parts of different reach side by side, in a window that may be longer than any of them needs."""
    parts = tuple(drawn(kind, features, rows, gap, seed) for seed, (kind, rows, gap) in enumerate(kinds))
    window = max(part.rows for part in parts) + more
    layout = Layout(window, features, len(parts), (1.0,) * len(parts), (1e3,) * len(parts))
    content = convert(build_graph(window, features, parts), "torch")
    model = TorchModel.open(content, ("made", "1"), layout)
    assert model.score(np.empty((0, window, features), np.float32)).shape == (0, len(parts), features)
    for count in (1, 5):
        windows = np.random.default_rng(count).normal(size=(count, window, features)).astype(np.float32)
        errors = model.score(windows)
        assert errors.shape == (count, len(parts), features)
        for term, part in enumerate(parts):
            expected = part.errors(windows[:, window - part.rows :])
            np.testing.assert_allclose(errors[:, term], expected, rtol=1e-4, atol=2e-3)


def test_the_same_export_gives_the_same_bytes_and_no_path(artifact: Artifact) -> None:
    assert exported().model == artifact.model
    assert str(Path(__file__).parent.parent).encode() not in artifact.model
    assert b"pickle" not in artifact.model


needs_compiler = pytest.mark.skipif(
    not (find_spec("setuptools") and shutil.which("c++")), reason="needs setuptools and a C++ compiler"
)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_compiler)])
def test_the_program_is_compiled_by_torch(artifact: Artifact, backend: str) -> None:
    """As on a GPU, as far as a CPU goes: the first size, then one for all others."""
    compiled = torch.compile(built(unpack(artifact.model, "made")), backend=backend)
    for count in (7, 64, 33):
        windows = some_windows(count)
        with torch.inference_mode():
            errors = compiled(torch.from_numpy(windows)).numpy()
        np.testing.assert_allclose(errors, reference(windows), atol=1e-4, rtol=1e-4)


def test_what_is_read_can_be_exported_again(artifact: Artifact) -> None:
    torch.export.export(built(unpack(artifact.model, "made")), (torch.from_numpy(some_windows(7)),))


def test_a_program_of_another_shape_is_refused(artifact: Artifact) -> None:
    manifest = SOURCE.manifest.model_copy(update={"window": ROWS + 1})
    with pytest.raises(ModelError, match=r"does not take windows \(1, 6, 4\)|gives float32"):
        open_artifact(artifact.altered(manifest), ON_CPU)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_names_the_cure(artifact: Artifact, device: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ModelError, match=r'model\.device = .*set model\.device = "cpu"'):
        open_artifact(artifact, Placement(device))  # type: ignore[arg-type]


def test_an_operator_that_training_does_not_write_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cannot be exported to torch.*no form in torch"):
        convert(convert(SOURCE.model, "onnx-int8"), "torch")


def test_a_gpu_holds_two_models_at_once_and_no_more() -> None:
    assert memory_share(2 << 30, 80 << 30) == 0.05
    assert memory_share(60 << 30, 80 << 30) == 1.0


def test_a_bucket_that_lacks_memory_is_tried_once_and_batches_go_in_smaller_parts(artifact: Artifact) -> None:
    module = built(unpack(artifact.model, "made"))
    tried = []

    def record(size: int) -> Recorded:
        tried.append(size)
        if size > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        windows = torch.zeros((size, ROWS, FEATURES))
        errors = module(windows)
        return Recorded(windows, errors, lambda: errors.copy_(module(windows)))

    model = TorchModel(Buckets(record, 100), "made", "1", SOURCE.manifest.layout)
    for count in (100, 100, 7):
        windows = some_windows(count)
        np.testing.assert_allclose(model.score(windows), reference(windows), atol=1e-4, rtol=1e-4)
    assert tried == [128, 64, 32, 16, 4, 8]


def test_a_program_that_fits_in_no_bucket_says_so(artifact: Artifact) -> None:
    def record(size: int) -> Recorded:
        raise torch.OutOfMemoryError(f"CUDA out of memory for {size}")

    model = TorchModel(Buckets(record, 8), "made", "1", SOURCE.manifest.layout)
    with pytest.raises(torch.OutOfMemoryError, match=r"for 1$"):
        model.score(some_windows(5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_the_numbers_are_those_of_the_cpu(artifact: Artifact) -> None:
    model = TorchModel.open(artifact.model, ("made", "1"), SOURCE.manifest.layout, Placement("cuda"))
    assert isinstance(model._run, Buckets)
    for count in (1, 3, 64, 5000):
        windows = some_windows(count)
        np.testing.assert_allclose(model.score(windows), reference(windows), atol=1e-3, rtol=1e-3)


def call(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("family", ["ensemble", "autoencoder"])
def test_export_measure_and_score_by_command(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder_training, "STEPS_MAX", 200)  # how good it is does not matter here
    source, out = tmp_path / "onnx", tmp_path / "torch"
    call("train", "--data", sample_path(), "--out", source, "--family", family)
    told = call(
        "export", "--model", source, "--to", "torch", "--data", sample_path(), "--split", "test", "--out", out
    )
    manifest = load_model(out).manifest
    assert manifest.version == f"{load_model(source).manifest.version}-torch"
    assert manifest.metrics["export_flips"] == 0
    assert manifest.metrics["export_largest_difference"] < 1e-3
    assert "0 flips" in told
    timed = json.loads(call("bench-model", source, out, "--seconds", "0.05", "--json"))
    assert set(timed) == {str(source), str(out)}
    assert (out / TORCH_MODEL).is_file()
    assert not (out / "model.onnx").exists()
