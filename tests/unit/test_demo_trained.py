"""The model of the demo: kept per data and code, never used damaged, never of other features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.demo.trained import CANDIDATE_TRAINING, TRAINING, cached_model, is_whole, require_fit
from stream_infer.errors import ModelError
from stream_infer.models.dataset import Dataset
from stream_infer.models.train import train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 200 random rows with the features a and b."""
    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    counted = np.arange(200, dtype=np.int64)
    data = Dataset(("x",), ("a", "b"), np.zeros(200, np.int32), counted, counted * 1000, rows)
    folder = tmp_path_factory.mktemp("model") / "small"
    train(data, counted, ("small", None)).save(folder)
    return folder


def test_the_place_of_a_model_follows_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    one.write_bytes(b"rows")
    same.write_bytes(b"rows")
    other.write_bytes(b"other rows")
    assert cached_model(one, TRAINING) == cached_model(same, TRAINING)
    assert cached_model(one, TRAINING) != cached_model(other, TRAINING)
    assert cached_model(one, TRAINING) != cached_model(one, CANDIDATE_TRAINING)
    assert cached_model(one, TRAINING).is_relative_to(tmp_path / "cache")


def test_a_damaged_model_is_thrown_away(model: Path, tmp_path: Path) -> None:
    assert is_whole(model)
    assert not is_whole(tmp_path / "never made")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in model.iterdir():
        content = file.read_bytes()
        (damaged / file.name).write_bytes(content[:-1] if file.name == "model.onnx" else content)
    assert not is_whole(damaged)
    assert not damaged.exists()


def test_a_model_of_other_features_is_refused_before_anything_starts(model: Path) -> None:
    require_fit("--model", model, ("c", "b", "a"))
    with pytest.raises(ModelError, match="takes b, which the data has no column for"):
        require_fit("--model", model, ("a", "c"))
