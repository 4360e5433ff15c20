"""Scorer: one bad row, or one that the model cannot take, never fails its neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.errors import BrokerError, ModelError
from stream_infer.records import Rejects, Scores
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

LAYOUT = layout_of(window=3, features=4, terms=2)
STRICT = layout_of(window=3, features=4, terms=2, missing="reject")
PROFILES = profiles_of(LAYOUT, (b"a", b"b", b"c"))
POISON = 1e6  # far more than any drawn value: its row is known by the newest z


class Failing(Difference):
    """The model, failing in one way on any batch that holds a poisoned row."""

    def __init__(self, how: str) -> None:
        super().__init__(LAYOUT.terms)
        self.how = how
        self.calls = 0

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        errors = super().score(windows)
        poisoned = windows[:, -1, 0] > 40
        if self.how in {"nan", "inf"}:
            errors[poisoned, 1, 2] = float(self.how)
        elif poisoned.any():
            return self.fail(errors)
        return errors

    def fail(self, errors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.how == "raise":
            raise RuntimeError("no such thing")
        return {
            "rows": errors[:-1],
            "terms": errors[:, :1],
            "dtype": errors.astype(np.float64),
            "none": None,
        }[self.how]  # type: ignore[return-value]


def _score(
    scorer: Scorer, features: NDArray[np.float64], start: int = 0
) -> tuple[list[int], Scores, list[Rejects]]:
    names = [b"abc"[i % 3 : i % 3 + 1] for i in range(start, start + len(features))]
    offset = np.arange(start, start + len(features))
    columns = columns_of(names, (1000 * offset).tolist(), features)
    columns.rows = 10 + 2 * np.arange(len(features))  # rows of a larger batch
    kept, scores, rejects = scorer.score(columns, np.zeros(len(features), np.int32), offset)
    return kept.tolist(), scores, rejects


def _scorer(model: Difference, layout=LAYOUT) -> Scorer:
    return Scorer(model, PROFILES, layout, EntityTable(layout, PROFILES))


def _features(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, LAYOUT.features))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["raise", "rows", "terms", "dtype", "none", "nan", "inf"]),
    st.integers(1, 33),
    st.sets(st.integers(0, 32), max_size=5),
)
def test_only_the_culprits_are_rejected(how: str, count: int, culprits: set[int]) -> None:
    culprits = {i for i in culprits if i < count}
    features = _features(count)
    features[list(culprits), 0] = POISON
    kept, scores, rejects = _score(_scorer(Failing(how)), features)

    good = [i for i in range(count) if i not in culprits]
    assert kept == good
    assert rejects[1].rows.tolist() == [10 + 2 * i for i in sorted(culprits)]
    error = {"raise": "model_raised", "nan": "score_not_finite", "inf": "score_not_finite"}.get(
        how, "model_shape"
    )
    assert [(fault.stage, fault.error) for _, fault in rejects[1]] == [("score", error)] * len(culprits)
    assert len(rejects[0]) == 0
    assert np.isfinite(scores.score).all()
    assert len(scores) == len(good)


def test_a_failing_row_leaves_the_smoothed_errors_and_stays_in_the_window() -> None:
    """The neighbours' scores are those of a run in which the model gave that row NaN, however it failed."""
    features = _features(12)
    features[4, 0] = POISON
    raised, gave_nan = _scorer(Failing("raise")), _scorer(Failing("nan"))

    assert _score(raised, features)[1].score.tolist() == _score(gave_nan, features)[1].score.tolist()
    healthy = _score(_scorer(Difference(2)), features)[1].score[[7]]
    assert _score(raised, _features(3), 12)[1].score[1] != healthy


def test_a_single_culprit_costs_few_calls() -> None:
    features = _features(1024)
    features[700, 0] = POISON
    model = Failing("raise")
    _score(_scorer(model), features)

    assert model.calls == 1 + 2 * 10


def test_the_reason_names_what_the_model_said() -> None:
    features = _features(2)
    features[1, 0] = POISON

    ((_, raised),) = _score(_scorer(Failing("raise")), features)[2][1]
    assert raised.reason == "RuntimeError: no such thing"
    ((_, misshapen),) = _score(_scorer(Failing("terms")), features)[2][1]
    assert "wanted float32 (1, 2, 4)" in misshapen.reason


class Broken(Difference):
    def __init__(self, error: Exception) -> None:
        super().__init__(LAYOUT.terms)
        self.error = error

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        raise self.error


def test_a_model_that_fails_on_everything_is_an_error_of_the_worker() -> None:
    with pytest.raises(ModelError, match="even on one of zeros: OSError: device lost"):
        _score(_scorer(Broken(OSError("device lost"))), _features(5))


def test_all_rows_may_be_culprits_of_a_sound_model() -> None:
    features = _features(3)
    features[:, 0] = POISON
    kept, scores, rejects = _score(_scorer(Failing("raise")), features)

    assert kept == []
    assert len(scores) == 0
    assert len(rejects[1]) == 3


def test_an_error_of_the_worker_is_not_a_reject() -> None:
    with pytest.raises(BrokerError):
        _score(_scorer(Broken(BrokerError("gone"))), _features(2))


def test_no_record_is_to_blame_for_a_lack_of_memory() -> None:
    with pytest.raises(ModelError, match=r"more memory than there is, for 2 windows: 8 GiB.*Cure: give"):
        _score(_scorer(Broken(MemoryError("8 GiB"))), _features(2))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_feature_is_rejected_before_the_state_is_touched(value: float) -> None:
    features = _features(9)
    without = np.delete(features, 4, axis=0)
    features[4, 2] = value
    kept, scores, (unfit, unscored) = _score(_scorer(Difference(2)), features)

    assert kept == [0, 1, 2, 3, 5, 6, 7, 8]
    ((row, fault),) = unfit
    assert (row, fault.stage, fault.error) == (18, "window", "feature_infinite")
    assert "number 2" in fault.reason
    assert len(unscored) == 0
    table = EntityTable(LAYOUT, PROFILES)
    names = [b"abc"[i % 3 : i % 3 + 1] for i in kept]
    expected = Scorer(Difference(2), PROFILES, LAYOUT, table).score(
        columns_of(names, [1000 * i for i in kept], without), np.zeros(8, np.int32), np.arange(8)
    )[1]
    assert scores.score.tolist() == expected.score.tolist()


def test_a_missing_feature_is_imputed_or_rejected_as_the_manifest_says() -> None:
    features = _features(3)
    features[1, 3] = math.nan
    assert _score(_scorer(Difference(2)), features)[0] == [0, 1, 2]

    scorer = _scorer(Difference(2), STRICT)
    kept, _, (unfit, _) = _score(scorer, features)
    assert kept == [0, 2]
    ((row, fault),) = unfit
    assert (row, fault.stage, fault.error) == (12, "window", "feature_missing")
    assert scorer.table.entity_count == 2


def test_no_rows_are_no_scores() -> None:
    kept, scores, rejects = _score(_scorer(Difference(2)), _features(0))

    assert kept == []
    assert len(scores) == 0
    assert [len(reject) for reject in rejects] == [0, 0]


def test_rows_that_are_read_only_or_strided_are_taken_as_they_come() -> None:
    """Decoders hand over views; scores do not depend on it."""
    features = _features(8)
    wide = np.full((8, 9), 7.0)
    wide[:, ::2][:, :4] = features
    view = wide[:, ::2][:, :4]
    view.flags.writeable = False

    expected = _score(_scorer(Difference(2)), features)[1].score
    assert _score(_scorer(Difference(2)), view)[1].score.tolist() == expected.tolist()
