"""Layouts and profiles that cannot be are refused before a row is scored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stream_infer.errors import ModelError
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

LAYOUT = layout_of(3, 2, 1)
PROFILES = profiles_of(LAYOUT, (b"a", b"b"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "at least 1"),
        ({"terms": 2}, "one per term"),
        ({"smoothing": (0.0,)}, "smoothing"),
        ({"smoothing": (float("nan"),)}, "smoothing"),
        ({"clip": (float("inf"),)}, "clip"),
        ({"missing": "drop"}, "'drop'"),
    ],
)
def test_a_layout_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(LAYOUT, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": (b"a",)}, "do not fit"),
        ({"names": (b"a", b"a")}, "do not fit"),
        ({"center": np.zeros((3, 3))}, r"center is \(3, 3\), wanted \(3, 2\)"),
        ({"center": np.full((3, 2), np.nan)}, "center"),
        ({"spread": np.zeros((3, 2))}, "spread"),
        ({"error_sd": np.full((3, 1, 2), np.nan, np.float32)}, "error_sd"),
        ({"scale": np.full((3, 1), -1.0)}, "scale"),
        ({"threshold": np.full(3, np.nan)}, "threshold"),
    ],
)
def test_profiles_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(PROFILES, **change)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e38])
def test_extreme_profiles_and_values_still_give_numbers(size: float) -> None:
    """Known and unknown entities alike: whatever finite value comes, state and scores stay finite."""
    extreme = dataclasses.replace(
        PROFILES, center=np.full((3, 2), min(size, 1e38)), spread=np.full((3, 2), size)
    )
    scorer = Scorer(Difference(1), extreme, LAYOUT, EntityTable(LAYOUT, extreme))
    values = np.array([0.0, 1e308, -1e308, 5e-324, 1e38, -1e300, 3.0, np.nan])
    features = np.stack([np.repeat(values, 4), np.tile(values, 4)], axis=1)
    columns = columns_of([b"a", b"new"] * 16, [0] * 32, features)
    kept, scores, _ = scorer.score(columns, np.zeros(32, np.int32), np.arange(32))

    assert len(kept) == 32
    assert np.isfinite(scores.score).all()
