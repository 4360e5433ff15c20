"""Thresholds by recent data: drifted rows alarm as often as asked for again, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.cli import main
from stream_infer.errors import ConfigError
from stream_infer.models.artifact import Artifact
from stream_infer.models.calibrate import thresholds
from stream_infer.models.recalibrate import recalibrated

NAMES = (b"one", "zwei-ü".encode(), b"new")


def test_new_thresholds_are_quantiles_of_recent_scores(artifact: Artifact) -> None:
    rng = np.random.default_rng(0)
    entity = np.repeat(np.arange(3), 1000)
    score = rng.exponential(size=3000) * np.repeat([10.0, 20.0, 5.0], 1000)

    made = recalibrated(artifact, NAMES, entity, score, 0.98, rows_min=500)

    expected = [np.quantile(score[entity == index], 0.98) for index in range(3)]
    np.testing.assert_allclose(made.artifact.profiles.threshold, expected)
    assert made.entities == 2
    assert made.alarm_share_before > 0.3
    assert made.alarm_share_after == pytest.approx(0.02, abs=0.001)


def test_only_thresholds_version_and_hash_change(artifact: Artifact, tmp_path: Path) -> None:
    score = np.random.default_rng(0).exponential(size=1000)
    made = recalibrated(artifact, NAMES[:1], np.zeros(1000, int), score, 0.99, rows_min=500).artifact

    made.save(tmp_path / "new")
    read = Artifact.load(tmp_path / "new", made.sha256)

    assert read.model == artifact.model
    for name in ("center", "spread", "error_sd", "scale"):
        np.testing.assert_array_equal(getattr(read.profiles, name), getattr(artifact.profiles, name))
    assert read.profiles.threshold[1] == artifact.profiles.threshold[1], (
        "an entity without scores keeps its own"
    )
    assert read.sha256 != artifact.sha256
    assert read.manifest.version != artifact.manifest.version
    assert read.manifest.metrics["calibrated_rows"] == 1000


def test_too_few_scores_are_refused(artifact: Artifact) -> None:
    with pytest.raises(ConfigError, match="no entity has 500 scored rows"):
        recalibrated(artifact, NAMES, np.zeros(100, int), np.ones(100), 0.99, rows_min=500)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e6), max_size=30), min_size=2, max_size=2), st.floats(0.5, 0.999))
def test_thresholds_are_above_zero_and_keep_the_share_under_them(
    artifact: Artifact, scores: list[list[float]], quantile: float
) -> None:
    entity = np.repeat([0, 1], [len(own) for own in scores])
    flat = np.array([value for own in scores for value in own])
    threshold = thresholds(artifact.profiles, entity, flat, quantile, rows_min=1).threshold

    assert (threshold > 0).all()
    for index, own in enumerate(scores):
        if own:
            over = int((np.array(own) > threshold[index]).sum())
            assert over <= len(own) - 1 - int((len(own) - 1) * quantile)


@settings(deadline=None)
@given(st.permutations(range(40)))
def test_the_order_of_scores_does_not_matter(artifact: Artifact, order: list[int]) -> None:
    entity, score = np.repeat([0, 1], 20), np.linspace(0, 3, 40)

    shuffled = thresholds(artifact.profiles, entity[order], score[order], 0.9, rows_min=1)

    np.testing.assert_array_equal(
        shuffled.threshold, thresholds(artifact.profiles, entity, score, 0.9, rows_min=1).threshold
    )


def rows_file(path: Path, noise: float, seed: int) -> Path:
    """Three hosts of two features, as noisy as wanted."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(3000) / 9)[:, None]
    values = np.concatenate([swing + noise * rng.normal(size=(3000, 2)) for _ in range(3)])
    columns = {"host": np.repeat(["a", "b", "c"], 3000), "x": values[:, 0], "y": values[:, 1]}
    pq.write_table(pa.table(columns), path)
    return path


def call(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def alarm_share(data: Path, model: Path, tmp_path: Path) -> float:
    call("score", "--data", data, "--model", model, "--out", tmp_path / "scores.parquet")
    return float(np.mean(pq.read_table(tmp_path / "scores.parquet")["is_anomaly"].to_numpy()))


def test_drifted_data_alarms_as_often_as_asked_for_again(tmp_path: Path) -> None:
    """By the commands; the calm after calibration is measured on other rows than those it was made of."""
    usual = rows_file(tmp_path / "usual.parquet", 0.1, 0)
    drifted, later = (rows_file(tmp_path / f"{seed}.parquet", 0.25, seed) for seed in (1, 2))
    call("train", "--data", usual, "--out", tmp_path / "old", "--threshold-quantile", "0.99")

    before = alarm_share(later, tmp_path / "old", tmp_path)
    said = call(
        *("calibrate", "--model", tmp_path / "old", "--data", drifted, "--out", tmp_path / "new"),
        *("--threshold-quantile", "0.99"),
    )
    after = alarm_share(later, tmp_path / "new", tmp_path)

    assert before > 0.5
    assert 0.003 < after < 0.03
    assert "9000 rows, new thresholds of 3 entities" in said
    assert "1.00% now" in said


@pytest.mark.parametrize("arguments", [(), ("--data", "x", "--config", "y")])
def test_rows_come_from_one_place(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["calibrate", "--model", "m", "--out", "o", *arguments])

    assert result.exit_code == 2
    assert "give either --data FILE or --config FILE" in result.output
