"""Training end to end: on made rows and on the sample that ships, through the Scorer of the worker."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stream_infer.data import sample_path, sample_root_causes_path
from stream_infer.errors import ConfigError
from stream_infer.models.artifact import Artifact
from stream_infer.models.dataset import Dataset, read_dataset
from stream_infer.models.evaluate import Quality, evaluate, read_causes
from stream_infer.models.families.sampling import windows_of
from stream_infer.models.loading import open_artifact
from stream_infer.models.offline import OfflineScores, score_rows
from stream_infer.models.placement import Placement
from stream_infer.models.scored import read_scored, scored_rows, write_scored
from stream_infer.models.standard import fill_missing, standardised
from stream_infer.models.train import Recipe, train

ROWS = 1500
BROKEN = slice(1200, 1230)


def made(seed: int = 0) -> Dataset:
    """Two entities of four features that swing together; feature 2 of the first breaks loose in BROKEN."""
    generator = np.random.default_rng(seed)
    swing = np.sin(np.arange(ROWS) / 9)[:, None]
    parts = [
        level + size * (swing + 0.1 * generator.normal(size=(ROWS, 4)))
        for level, size in ((5, 1), (-100, 30))
    ]
    parts[0][BROKEN, 2] += generator.choice([-4, 4], 30)
    label = np.zeros(2 * ROWS, np.int8)
    label[BROKEN] = 1
    return Dataset(
        entities=("one", "two"),
        feature_names=("a", "b", "c", "d"),
        entity=np.repeat(np.array([0, 1], np.int32), ROWS),
        seq=np.tile(np.arange(ROWS), 2),
        time_ms=np.tile(np.arange(ROWS) * 60_000, 2),
        features=np.concatenate(parts),
        splits=("train", "test"),
        split=np.tile((np.arange(ROWS) >= 1000).astype(np.int32), 2),
        label=label,
    )


def trained(data: Dataset, **choices: object) -> Artifact:
    return train(data, data.rows_of("train"), ("made", None), Recipe(**choices))  # type: ignore[arg-type]


def scores_of(
    artifact: Artifact, data: Dataset, split: str | None = "test", batch_size: int = 4096
) -> OfflineScores:
    loaded = open_artifact(artifact, Placement())
    return score_rows(loaded.model, loaded.profiles, data, data.rows_of(split), batch_size)


@pytest.mark.parametrize("family", ["forecast", "pca", "ensemble"])
def test_a_break_is_found_and_named(family: str) -> None:
    data = made()

    scores = scores_of(trained(data, family=family), data)

    quality = evaluate(scored_rows(data, scores))
    peak = int(np.argmax(scores.score))
    assert data.seq[scores.rows[peak]] in range(BROKEN.start, BROKEN.stop + 10)
    assert scores.top[peak, 0] == 2
    assert quality.events_found == quality.events == 1
    assert quality.auc_pr is not None
    assert quality.auc_pr > 0.6


@pytest.mark.parametrize("family", ["forecast", "pca", "ensemble"])
def test_calibration_makes_training_scores_usual(family: str) -> None:
    data = made()
    artifact = trained(data, family=family, threshold_quantile=0.98)

    scores = scores_of(artifact, data, "train")

    terms = len(artifact.manifest.terms)
    for entity in range(2):
        own = data.entity[scores.rows] == entity
        assert scores.score[own].mean() == pytest.approx(terms, rel=1e-3)
        assert scores.is_anomaly[own].mean() == pytest.approx(0.02, abs=0.002)


def test_scores_equal_the_recipe_written_out_in_numpy() -> None:
    data = made()
    artifact = trained(data, family="ensemble")
    profiles, loaded = artifact.profiles, open_artifact(artifact, Placement())

    scores = scores_of(artifact, data, "train")

    for entity in range(2):
        raw = data.features[(data.entity == entity) & (data.split == 0)]
        z = fill_missing(standardised(raw, profiles.center[entity], profiles.spread[entity]))
        errors = loaded.model.score(windows_of(z, artifact.manifest.window, np.arange(len(z)))).astype(float)
        expected = np.zeros(len(z))
        for term, rule in enumerate(artifact.manifest.terms):
            energy = np.minimum((errors[:, term] / profiles.error_sd[entity, term]) ** 2, rule.clip)
            smooth = energy[0].copy()
            for row in range(len(z)):
                smooth += rule.smoothing * (energy[row] - smooth)
                expected[row] += smooth.mean() / profiles.scale[entity, term]
        np.testing.assert_allclose(scores.score[data.entity[scores.rows] == entity], expected, rtol=1e-4)


@pytest.mark.parametrize("family", ["forecast", "pca", "ensemble"])
def test_scores_do_not_depend_on_batches(family: str) -> None:
    data = made()
    artifact = trained(data, family=family)
    whole = scores_of(artifact, data)

    for batch_size in (1, 7, 256):
        part = scores_of(artifact, data, batch_size=batch_size)

        np.testing.assert_allclose(part.score, whole.score, rtol=1e-5, atol=1e-5)


def test_entities_in_turn_get_the_scores_of_one_after_the_other() -> None:
    data = made()
    artifact = trained(data)
    loaded = open_artifact(artifact, Placement())
    rows = data.rows_of("test")
    in_turn = rows[np.lexsort((data.entity[rows], data.time_ms[rows]))]

    scores = score_rows(loaded.model, loaded.profiles, data, in_turn, batch_size=101)

    expected = scores_of(artifact, data)
    back = np.argsort(in_turn)
    np.testing.assert_allclose(scores.score[back], expected.score, rtol=1e-5)
    np.testing.assert_array_equal(scores.top[back], expected.top)


def test_scores_do_not_see_the_future() -> None:
    data = made()
    artifact = trained(data)
    changed = dataclasses.replace(data, features=data.features.copy())
    changed.features[1300:ROWS] += 50  # later rows of the first entity alone

    before, after = (scores_of(artifact, rows) for rows in (data, changed))

    spared = ~np.isin(before.rows, np.arange(1300, ROWS))
    np.testing.assert_array_equal(before.score[spared], after.score[spared])
    assert (before.score[~spared] != after.score[~spared]).all()


def test_equal_training_gives_an_equal_artifact() -> None:
    first, again, other = trained(made()), trained(made()), trained(made(seed=1))

    assert first.sha256 == again.sha256
    assert first.manifest.version == again.manifest.version != other.manifest.version
    assert first.manifest.data_fingerprint != other.manifest.data_fingerprint


@pytest.mark.parametrize("missing", ["impute", "reject"])
def test_missing_values_follow_the_manifest(missing: str) -> None:
    data = made()
    data.features[300:310, 1] = np.nan
    data.features[1100, 1] = np.nan
    data.features[1101, 1] = np.inf
    artifact = trained(data, missing=missing)

    scores = scores_of(artifact, data)

    rejected = {"impute": [1101], "reject": [1100, 1101]}[missing]
    assert artifact.manifest.missing == missing
    assert scores.rows[np.isnan(scores.score)].tolist() == rejected
    assert scores.rejected_count == len(rejected)
    assert not scores.is_anomaly[np.isnan(scores.score)].any()


def test_entities_with_few_rows_are_left_to_the_fleet() -> None:
    data = made()
    rows = np.r_[0:1000, ROWS : ROWS + 50]

    artifact = train(data, rows, ("made", "7"), Recipe())

    assert artifact.manifest.version == "7"
    assert artifact.profiles.names == (b"one",)
    scores = scores_of(artifact, data, None)
    second = scores.score[data.entity == 1]
    assert np.isfinite(second).all()
    # An entity never seen, at another level: its own running statistics bring its scores down to usual ones.
    assert np.median(second[500:]) < 3
    with pytest.raises(ConfigError, match="no entity has 2000 training rows"):
        train(data, rows, ("made", None), Recipe(entity_rows_min=2000))


def test_a_written_file_reads_back_as_the_same_rows(tmp_path: object) -> None:
    data = made()
    data.features[1101, 1] = np.inf
    scores = scores_of(trained(data), data)
    path = f"{tmp_path}/out/scores.parquet"

    write_scored(path, data, scores)

    expected, actual = scored_rows(data, scores), read_scored(path)
    assert actual.entities == expected.entities
    for field in ("entity", "seq", "time_ms", "label", "score", "is_anomaly", "alert"):
        np.testing.assert_array_equal(getattr(actual, field), getattr(expected, field))
    names = [np.array([*rows.features, ""])[rows.top] for rows in (expected, actual)]
    np.testing.assert_array_equal(*names)
    assert evaluate(actual) == evaluate(expected)


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return read_dataset(sample_path())


@pytest.fixture(scope="module")
def sample_scores(sample: Dataset) -> OfflineScores:
    artifact = train(sample, sample.rows_of("train"), ("sample", None))
    return scores_of(artifact, sample)


@pytest.fixture(scope="module")
def sample_quality(sample: Dataset, sample_scores: OfflineScores) -> Quality:
    return evaluate(scored_rows(sample, sample_scores), read_causes(sample_root_causes_path()))


def test_the_sample_is_what_it_says(sample: Dataset) -> None:
    assert sample.entities == ("machine-1-2", "machine-2-3", "machine-3-4")
    assert (len(sample), len(sample.feature_names), sample.features.dtype) == (142_139, 38, np.float32)
    assert sample.label is not None
    assert set(sample.label[sample.rows_of("train")]) == {-1}
    assert set(sample.label[sample.rows_of("test")]) == {0, 1}
    assert sample_path().stat().st_size < 6_000_000


def test_quality_on_the_sample(sample_quality: Quality) -> None:
    assert sample_quality.rejected == 0
    assert sample_quality.vus_pr is not None
    assert sample_quality.random_vus_pr is not None
    assert sample_quality.vus_pr > 0.40 > 5 * sample_quality.random_vus_pr
    assert sample_quality.auc_pr is not None
    assert sample_quality.auc_pr > 0.40
    assert sample_quality.root_cause_share is not None
    assert sample_quality.root_cause_share > 0.75
    assert sample_quality.events_found >= 18


def test_labels_rolled_by_half_a_series_bring_quality_down_to_chance(
    sample: Dataset, sample_scores: OfflineScores, sample_quality: Quality
) -> None:
    rows = scored_rows(sample, sample_scores)
    label = rows.label.copy()
    for entity in range(3):
        own = rows.entity == entity
        label[own] = np.roll(label[own], own.sum() // 2)

    rolled = evaluate(dataclasses.replace(rows, label=label))

    assert rolled.vus_pr is not None
    assert sample_quality.vus_pr is not None
    assert rolled.vus_pr < 0.12 < sample_quality.vus_pr / 3
