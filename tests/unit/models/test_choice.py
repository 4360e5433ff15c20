"""The choice of a family without labels, and families side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from stream_infer.cli import main
from stream_infer.models import choice
from stream_infer.models.choice import choose, with_faults
from stream_infer.models.dataset import Dataset, read_dataset
from stream_infer.models.measure import halves
from stream_infer.models.train import Recipe

ROWS = 1500


def silent(step: str, done: float) -> None:
    """Report to nobody."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hosts of three features that swing together; one breaks loose in the test rows, labels say where."""
    rng = np.random.default_rng(0)
    swing = np.sin(np.arange(ROWS) / 7)[:, None] * [1.0, -1.0, 0.5]
    values = np.concatenate([size * (swing + 0.1 * rng.normal(size=(ROWS, 3))) for size in (1, 5, 0.2)])
    label = np.full(3 * ROWS, -1)
    for host, size in enumerate((1, 5, 0.2)):
        label[host * ROWS + 1000 : (host + 1) * ROWS] = 0
        broken = slice(host * ROWS + 1200, host * ROWS + 1220)
        values[broken, 1] += 3 * size
        label[broken] = 1
    columns = {"host": np.repeat(["a", "b", "c"], ROWS), "label": label}
    columns |= {"split": np.tile(np.where(np.arange(ROWS) < 1000, "train", "test"), 3)}
    columns |= {name: values[:, column] for column, name in enumerate("xyz")}
    made = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.table(columns), made)
    return made


@pytest.fixture(scope="module")
def data(path: Path) -> Dataset:
    return read_dataset(path)


def test_faults_are_where_the_labels_say(data: Dataset, path: Path) -> None:
    rows = data.rows_of("train")

    broken = with_faults(data, rows, seed=1)

    changed = (broken.features != data.features).any(axis=1)
    assert broken.label is not None
    assert not changed[broken.label == 0].any()
    assert changed[broken.label == 1].mean() > 0.9
    assert 0.02 < broken.label[rows].mean() < 0.2
    assert (data.features == read_dataset(path).features).all(), "the data itself is left as it was"


def test_labels_have_no_say_in_the_choice(data: Dataset) -> None:
    """With every label turned round the choice and its figures are the same."""
    assert data.label is not None
    turned = Dataset(**{**vars(data), "label": (1 - data.label).astype(np.int8)})
    rows = data.rows_of("train")

    family, figures = choose(data, rows, Recipe(), silent)

    assert (family, figures) == choose(turned, rows, Recipe(), silent)
    assert set(figures) >= {"forecast", "pca", "ensemble"}
    assert all(0 < figure <= 1 for figure in figures.values())


def test_the_best_is_taken_and_of_equals_the_cheapest(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = data.rows_of("train")
    _, figures = choose(data, rows, Recipe(), silent)
    monkeypatch.setattr(choice, "_TIE", 0.0)
    best, _ = choose(data, rows, Recipe(), silent)
    monkeypatch.setattr(choice, "_TIE", 1.0)
    cheapest, _ = choose(data, rows, Recipe(), silent)

    assert figures[best] == max(figures.values())
    assert cheapest == "forecast"


def test_train_auto_says_what_it_tried(path: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["train", "--data", str(path), "--out", str(tmp_path / "m"), "--family", "auto"]
    )

    assert result.exit_code == 0, result.output
    assert "chosen by VUS-PR over made-up faults in the training rows: forecast 0." in result.output
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["family"] in {"forecast", "pca", "ensemble", "autoencoder"}
    assert manifest["metrics"]["chosen_by_vus_pr_pca"] > 0


def test_families_side_by_side(path: Path) -> None:
    arguments = ["evaluate", "--data", str(path), "--family", "forecast", "--family", "pca", "--holdout"]

    shown, told = (CliRunner().invoke(main, [*arguments, *more]) for more in ([], ["--json"]))

    assert shown.exit_code == told.exit_code == 0, shown.output + told.output
    figures = json.loads(told.stdout)
    assert [one["family"] for one in figures["families"]] == ["forecast", "pca"]
    assert set(figures["left_out"]) == {"forecast", "pca"}
    for one in figures["families"]:
        assert one["quality"]["events_found"] == one["quality"]["events"] == 3
        assert one["quality"]["vus_pr"] > 4 * one["quality"]["random_vus_pr"]
        assert one["us_per_event"] > 0
        assert f"{one['quality']['vus_pr']:.3f}" in shown.output
    left_out = figures["left_out"]["forecast"]
    assert left_out["entities"] == 3
    assert left_out["events"] == 3
    assert shown.output.count("entities left out") == 2


def test_halves_are_every_second_entity_by_name(data: Dataset) -> None:
    assert halves(data) == (("a", "c"), ("b",))


@pytest.mark.parametrize("more", [["--model", "m"], ["--scores", "s"]])
def test_family_goes_with_data_alone(path: Path, more: list[str]) -> None:
    result = CliRunner().invoke(main, ["evaluate", "--data", str(path), "--family", "pca", *more])

    assert result.exit_code == 2
    assert "--family goes with --data FILE" in result.output
