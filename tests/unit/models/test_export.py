"""Models in another form: what is measured of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_infer.cli import main
from stream_infer.data import sample_path
from stream_infer.errors import ModelError
from stream_infer.models.artifact import Artifact
from stream_infer.models.export.convert import convert
from stream_infer.models.export.parity import Bounds, Parity
from stream_infer.models.export.speed import speeds
from stream_infer.models.loading import load_model, open_artifact
from stream_infer.models.placement import Placement

SCORES = hnp.arrays(np.float64, 20, elements=st.floats(0, 100))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "smd"
    call("train", "--data", sample_path(), "--out", folder)
    return folder


def call(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


# ---- parity


@given(SCORES)
def test_a_model_agrees_with_itself(scores: np.ndarray) -> None:
    parity = Parity.of(scores, scores, np.full(20, 2.0))
    assert (parity.rows, parity.largest_difference, parity.flips) == (20, 0.0, 0)
    parity.check(Bounds(0.0, 0.0))


@given(SCORES, SCORES)
def test_flips_are_counted_and_the_largest_difference_found(a: np.ndarray, b: np.ndarray) -> None:
    limit = np.full(20, 10.0)
    parity = Parity.of(a, b, limit)
    assert parity.flips == sum((x >= 10) != (y >= 10) for x, y in zip(a, b, strict=True))
    wanted = [
        abs(x - y) / max(x, y) if min(x, y) > 10 else abs(x - y) / 10 for x, y in zip(a, b, strict=True)
    ]
    assert parity.largest_difference == pytest.approx(max(wanted))
    if parity.flips:
        with pytest.raises(ModelError, match=r"change sides|differ by"):
            parity.check(Bounds(np.inf, 0.0))


def test_what_only_one_of_both_scores_is_infinitely_far() -> None:
    a, b = np.array([1.0, np.nan, np.nan]), np.array([1.0, 1.0, np.nan])
    parity = Parity.of(a, b, np.ones(3))
    assert (parity.rows, parity.largest_difference) == (2, np.inf)
    with pytest.raises(ModelError, match="differ by up to inf"):
        parity.check(Bounds(1e9, 1.0))


def test_rank_agreement_is_spearmans() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    limit = np.full(5, 9.0)
    assert Parity.of(a, a**3, limit).rank_agreement == pytest.approx(1.0)
    assert Parity.of(a, -a + 9, limit).rank_agreement == pytest.approx(-1.0)
    # 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 1, -1, 0, 0, 0
    assert Parity.of(a, a[[1, 0, 2, 3, 4]], limit).rank_agreement == pytest.approx(0.9)


# ---- conversion


def test_folding_changes_no_number(artifact: Artifact) -> None:
    made = Artifact.of(artifact.manifest, convert(artifact.model, "onnx"), artifact.profiles)
    windows = np.random.default_rng(1).normal(size=(50, 5, 3)).astype(np.float32)
    before, after = (open_artifact(one, Placement()).model.score(windows) for one in (artifact, made))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(("target", "tolerance"), [("onnx-int8", 0.5), ("onnx-fp16", 0.02)])
def test_other_forms_keep_shape_and_type_and_nearly_the_numbers(
    artifact: Artifact, target: str, tolerance: float
) -> None:
    content = convert(artifact.model, target)
    assert content != artifact.model
    made = open_artifact(Artifact.of(artifact.manifest, content, artifact.profiles), Placement())
    windows = np.random.default_rng(1).normal(size=(50, 5, 3)).astype(np.float32)
    before, after = open_artifact(artifact, Placement()).model.score(windows), made.model.score(windows)
    assert after.dtype == np.float32
    assert 0 < np.abs(before - after).max() < tolerance


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be exported to onnx-fp16"):
        convert(b"\x00nonsense", "onnx-fp16")


def test_every_size_is_timed(artifact: Artifact) -> None:
    loaded = open_artifact(artifact, Placement())
    found = speeds(loaded.model, np.zeros((3, 5, 3), np.float32), (1, 7), seconds_each=0.01)
    assert [speed.batch_events for speed in found] == [1, 7]
    for speed in found:
        assert 0 < speed.p50_ms <= speed.p99_ms
        assert speed.events_per_s == pytest.approx(speed.batch_events / speed.p50_ms * 1000)


# ---- the commands


def test_an_export_is_measured_and_written(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    words = ("export", "--model", trained, "--to", "onnx-fp16", "--data", sample_path(), "--split", "test")
    told = call(*words, "--out", out, "--max-flips", "0.01")
    source, made = load_model(trained).manifest, load_model(out).manifest
    assert made.version == f"{source.version}-fp16"
    assert made.metrics["export_rows"] > 1000
    assert 0 < made.metrics["export_largest_difference"] <= 0.05
    assert made.metrics["export_rank_agreement"] > 0.99
    assert made.metrics["export_target_p50_ms_batch_1024"] > 0
    assert f"{made.metrics['export_flips']:.0f} flips" in told
    assert "events/s" in told


def test_an_export_outside_its_bound_is_refused_and_nothing_written(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    words = ("export", "--model", trained, "--to", "onnx-int8", "--data", sample_path(), "--split", "test")
    told = call(*words, "--out", out, "--max-difference", "1e-9", code=ModelError.exit_code)
    assert "refused: scores differ by up to" in told
    assert not out.exists()


def test_tensorrt_without_its_runtime_is_refused_with_a_cure(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "t"
    words = ("export", "--model", trained, "--to", "tensorrt", "--data", sample_path(), "--out", out)
    told = call(*words, code=ModelError.exit_code)
    assert "cannot be used here" in told
    assert "onnxruntime-gpu" in told
    assert "Cure: run the export on a machine with an NVIDIA GPU" in told
    assert not out.exists()


def test_models_are_timed_side_by_side(trained: Path) -> None:
    told = json.loads(call("bench-model", trained, "--seconds", "0.01", "--json"))
    assert [speed["batch_events"] for speed in told[str(trained)]["speeds"]] == [1, 16, 128, 1024, 4096]
    assert "beside_first" not in told[str(trained)]


def test_models_are_held_against_the_first(trained: Path, tmp_path: Path) -> None:
    coarse = tmp_path / "int8"
    data = ("--data", sample_path(), "--split", "test")
    bounds = ("--max-difference", "10", "--max-flips", "1")
    call("export", "--model", trained, "--to", "onnx-int8", *data, "--out", coarse, *bounds)
    exported = load_model(coarse).manifest.metrics

    words = ("bench-model", trained, coarse, "--seconds", "0.01", *data)
    told = json.loads(call(*words, "--json"))
    said = call(*words)

    found = told[str(coarse)]["beside_first"]
    assert found["rows"] == exported["export_rows"]
    assert found["flips"] == exported["export_flips"] > 0
    assert found["largest_difference"] == pytest.approx(exported["export_largest_difference"])
    assert f"{found['flips']} flips" in said
