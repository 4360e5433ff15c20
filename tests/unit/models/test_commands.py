"""The commands train, score and evaluate, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from stream_infer.cli import main
from stream_infer.data import sample_path, sample_root_causes_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last 4,000 train and the first 8,000 test rows of each machine of the sample."""
    table = pq.read_table(sample_path())
    is_test = np.asarray(table["split"].cast("string")) == "test"
    starts = np.flatnonzero(np.diff(is_test.astype(int)) == 1) + 1
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(
        table.take(np.concatenate([np.arange(start - 4000, start + 8000) for start in starts])), path
    )
    return path


@pytest.fixture(scope="module")
def model(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "smd"
    result = call("train", "--data", rows, "--out", path, "--threshold-quantile", "0.99")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("model smd ")
    assert (
        "12000 rows of 3 entities, 38 features, forecast, window 10, terms forecast + outlook"
        in result.output
    )
    return path


def test_train_writes_what_it_measured(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())

    assert manifest["features"][:2] == ["cpu_r", "load_1"]
    assert manifest["metrics"]["train_rows"] == 12000
    assert manifest["metrics"]["labelled_vus_pr"] > 2 * manifest["metrics"]["labelled_random_vus_pr"]


def test_score_then_evaluate(rows: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"

    scored = call("score", "--data", rows, "--model", model, "--split", "test", "--out", out)
    from_scores = call("evaluate", "--scores", out, "--json", "--root-causes", sample_root_causes_path())
    from_data = call(
        "evaluate", "--data", rows, "--model", model, "--json", "--root-causes", sample_root_causes_path()
    )
    table = call("evaluate", "--scores", out)

    assert scored.exit_code == from_scores.exit_code == from_data.exit_code == table.exit_code == 0
    assert "24000 rows scored by smd" in scored.output
    names = ["entity", "seq", "time", "split", "label", "score", "threshold"]
    names += ["is_anomaly", "alert", "top", "share"]
    assert pq.read_schema(out).names == names
    figures = json.loads(from_scores.stdout)
    assert figures == json.loads(from_data.stdout)
    assert figures["vus_pr"] > 3 * figures["random_vus_pr"]
    assert f"{figures['vus_pr']:.3f}" in table.output
    assert "machine-3-4" in table.output


def test_windows_run_on_when_all_rows_are_scored(rows: Path, model: Path, tmp_path: Path) -> None:
    whole, cold = tmp_path / "whole.parquet", tmp_path / "cold.parquet"
    call("score", "--data", rows, "--model", model, "--out", whole, "--batch-size", "999")
    call("score", "--data", rows, "--model", model, "--split", "test", "--out", cold)

    warm = pq.read_table(whole)
    warm = warm.filter(np.asarray(warm["split"].cast("string")) == "test")["score"].to_numpy()

    cold_scores = pq.read_table(cold)["score"].to_numpy()
    assert len(warm) == len(cold_scores) == 24000
    assert warm[0] != cold_scores[0]
    # The smoothed error forgets its start: 0.9^400 is nothing in float32.
    np.testing.assert_allclose(warm[400:8000], cold_scores[400:8000], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("train", "--data", "nothing.parquet", "--out", "m"), "--data nothing.parquet: cannot be read", 2),
        (("train", "--out", "m"), "Missing option '--data'", 2),
        (
            ("train", "--data", "{rows}", "--out", "m", "--train-split", "x"),
            "--split x: the data has train, test",
            2,
        ),
        (
            ("train", "--data", "{rows}", "--out", "m", "--features", "cpu_r,cpu"),
            "--features cpu: no such column",
            2,
        ),
        (
            ("train", "--data", "{rows}", "--out", "m", "--features", "cpu_r,cpu_r"),
            "feature named twice: cpu_r",
            2,
        ),
        (("train", "--data", "{rows}", "--out", "m", "--name", "my model"), "--name: String should match", 2),
        (("train", "--data", "{rows}", "--out", "a b"), "--name: String should match", 2),
        (("train", "--data", "{rows}", "--out", "{rows}"), "not a model artifact; choose another --out", 3),
        (("score", "--data", "{rows}", "--model", "m", "--out", "y"), "m: no model artifact here", 3),
        (("evaluate",), "give either --scores FILE, or --data FILE and --model DIRECTORY", 2),
        (
            ("evaluate", "--scores", "{rows}"),
            "has no column entity; make the file with `stream-infer score`",
            2,
        ),
    ],
)
def test_errors_say_what_to_do(
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)

    result = call(*(argument.format(rows=rows) for argument in arguments))

    assert result.exit_code == code
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_score_names_the_features_it_lacks(rows: Path, model: Path, tmp_path: Path) -> None:
    poorer = tmp_path / "poorer.parquet"
    pq.write_table(pq.read_table(rows).drop_columns(["load_1"]), poorer)

    lacking = call("score", "--data", poorer, "--model", model, "--out", tmp_path / "y.parquet")
    few = call(
        "score", "--data", rows, "--model", model, "--out", tmp_path / "y.parquet", "--features", "cpu_r,si"
    )

    assert lacking.exit_code == few.exit_code == 2
    assert "--features load_1: no such column" in lacking.output
    assert "--features names 2 columns, the model takes 38" in few.output


def test_a_plain_file_of_rows_is_enough(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    columns = {
        "host": [f"h{row % 3}" for row in range(900)],
        "cpu": generator.random(900),
        "up": [True] * 900,
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")

    trained = call("train", "--data", tmp_path / "rows.parquet", "--out", tmp_path / "m", "--family", "pca")
    scored = call(
        "score",
        "--data",
        tmp_path / "rows.parquet",
        "--model",
        tmp_path / "m",
        "--out",
        tmp_path / "y.parquet",
    )

    assert "900 rows of 3 entities, 2 features, pca, window 20, terms subspace" in trained.output
    assert scored.exit_code == 0
    scores = pq.read_table(tmp_path / "y.parquet")
    assert scores.column_names == [
        "entity",
        "seq",
        "time",
        "score",
        "threshold",
        "is_anomaly",
        "alert",
        "top",
        "share",
    ]
    assert np.isfinite(scores["score"].to_numpy()).all()
    assert 0 < np.mean(scores["is_anomaly"].to_numpy()) < 0.02


@pytest.mark.parametrize("command", ["train", "score", "evaluate"])
def test_help_teaches_without_loading_anything_heavy(command: str) -> None:
    result = call(command, "--help")

    assert "Example" in result.output
    assert f"stream-infer {command} --" in result.output
    code = (
        "import sys\n"
        f"import stream_infer.cli.{command}\n"
        "print([name for name in ('numpy', 'numba', 'onnxruntime', 'onnx', 'pyarrow', 'rich') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout == "[]\n"


def test_no_runtime_module_needs_the_train_extra() -> None:
    code = "import sys, stream_infer.models\nprint([n for n in ('onnx', 'pyarrow') if n in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout == "[]\n"
