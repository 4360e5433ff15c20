"""Every part: its graph says what its formula says in numpy, and fitting finds what is there."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_infer.models import OnnxModel
from stream_infer.models.families import FAMILIES, Fitting, Part, fit_family
from stream_infer.models.families.autoencoder import Autoencoder
from stream_infer.models.families.forecast import Forecast, OwnForecast, fit_forecast, fit_outlook
from stream_infer.models.families.network import Network
from stream_infer.models.families.ridge import FACTORS, fit_own_ridge, fit_ridge
from stream_infer.models.families.sampling import windows_of
from stream_infer.models.families.subspace import Subspace, fit_subspace
from stream_infer.models.graph import build_graph
from stream_infer.models.manifest import Term
from stream_infer.windows.layout import Layout

TERM = Term(name="made", smoothing=0.5, clip=9.0)


def opened(parts: tuple[Part, ...], features: int, window: int | None = None) -> OnnxModel:
    window = window or max(part.rows for part in parts)
    layout = Layout(window, features, len(parts), (1.0,) * len(parts), (1e3,) * len(parts))
    return OnnxModel.open(build_graph(window, features, parts), ("made", "1"), layout)


def drawn(kind: str, features: int, rows: int, gap: int, seed: int) -> Part:
    """A part of random weights that looks at ``rows`` rows, and ``gap`` more where it has a gap."""
    rng = np.random.default_rng(seed)
    width = rows * features
    if kind == "forecast":
        return Forecast(TERM, rng.normal(size=(width, features)) / width, rng.normal(size=features), gap, 0.2)
    if kind == "own":
        return OwnForecast(TERM, rng.normal(size=(rows, features)), rng.normal(size=features), gap, 0.2)
    if kind == "subspace":
        basis, _ = np.linalg.qr(rng.normal(size=(width, min(3, width))))
        return Subspace(rng.normal(size=width), basis, features)
    sizes = (width, 7, 2, 7, width)
    layers = tuple(
        (rng.normal(size=(a, b)).astype(np.float32) / a, rng.normal(size=b).astype(np.float32))
        for a, b in pairwise(sizes)
    )
    return Autoencoder(Network(layers), features)  # type: ignore[arg-type]


KINDS = st.sampled_from(["forecast", "own", "subspace", "autoencoder"])
PARTS = st.lists(st.tuples(KINDS, st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(PARTS, st.integers(1, 5), st.integers(0, 2), st.data())
def test_the_graph_equals_numpy(kinds, features: int, more: int, data) -> None:
    """Parts of different reach side by side, in a window that may be longer than any of them needs."""
    parts = tuple(drawn(kind, features, rows, gap, seed) for seed, (kind, rows, gap) in enumerate(kinds))
    window = max(part.rows for part in parts) + more
    values = st.floats(-30, 30, width=32)
    windows = data.draw(arrays(np.float32, (4, window, features), elements=values))

    errors = opened(parts, features, window).score(windows)

    assert errors.dtype == np.float32
    for term, part in enumerate(parts):
        expected = part.errors(windows[:, window - part.rows :])
        np.testing.assert_allclose(errors[:, term], expected, rtol=1e-4, atol=2e-3)


def test_forecast_errors_are_row_minus_forecast() -> None:
    part = drawn("forecast", features=3, rows=4, gap=5, seed=1)
    windows = np.random.default_rng(1).normal(size=(57, 10, 3)).astype(np.float32)

    before = windows[:, :4].reshape(57, 12).astype(float)
    expected = windows[:, 9] - (before @ part.weights + part.bias)  # type: ignore[attr-defined]
    np.testing.assert_allclose(part.errors(windows), expected, atol=1e-5)


def test_subspace_errors_hold_the_energy_that_is_left() -> None:
    part = drawn("subspace", features=3, rows=8, gap=0, seed=2)
    windows = np.random.default_rng(3).normal(size=(64, 8, 3)).astype(np.float32)

    centered = windows.reshape(64, 24) - part.center  # type: ignore[attr-defined]
    energy = ((centered**2).sum(1) - ((centered @ part.basis) ** 2).sum(1)) / 24  # type: ignore[attr-defined]
    np.testing.assert_allclose((part.errors(windows).astype(float) ** 2).mean(axis=1), energy, rtol=1e-4)


def lawful(rows: int, seed: int = 0) -> np.ndarray:
    """Two features, each made of values two rows back, and noise."""
    weights = np.array([[0.0, 0.3], [0.2, 0.0], [0.5, 0.0], [0.0, -0.4]])
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(rows, 2)).astype(np.float32)
    for row in range(2, rows):
        made[row] += made[row - 2 : row].reshape(4) @ weights + [0.7, -0.2]
    return made


def test_the_forecast_finds_the_law_of_a_series() -> None:
    weights, bias = fit_ridge([lawful(6000, seed) for seed in range(3)], lags=2)

    expected = [[0.0, 0.3], [0.2, 0.0], [0.5, 0.0], [0.0, -0.4]]
    np.testing.assert_allclose(weights, expected, atol=0.03)
    np.testing.assert_allclose(bias, [0.7, -0.2], atol=0.05)


def take_factors(monkeypatch: pytest.MonkeyPatch, *factors: float) -> None:
    monkeypatch.setattr("stream_infer.models.families.ridge.FACTORS", factors)


@pytest.mark.parametrize("gap", [0, 3])
def test_the_forecast_equals_ridge_regression_with_a_free_intercept(
    gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_factors(monkeypatch, 1.0)
    rows = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32) + 3
    first = 2 + gap
    before = np.stack([rows[row - 2 - gap : row - gap].reshape(4) for row in range(first, 60)]).astype(float)
    target = rows[first:].astype(float)
    centered = before - before.mean(0)

    weights, bias = fit_ridge([rows], 2, gap)

    expected = np.linalg.solve(centered.T @ centered + 10 * np.eye(4), centered.T @ (target - target.mean(0)))
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(bias, target.mean(0) - before.mean(0) @ expected, atol=1e-5)


def test_the_penalty_is_the_one_that_forecasts_entities_left_out_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four entities of as many rows are the four quarters; a coupling that each has of its own must not be believed."""
    generator = np.random.default_rng(4)
    series = [generator.normal(size=(303, 2)).astype(np.float32) for _ in range(4)]
    for rows, sign in zip(series, (1, -1, 1, -1), strict=True):
        for row in range(1, len(rows)):
            rows[row, 0] += sign * 0.5 * rows[row - 1, 1]
    others = [[rows for rows in series if rows is not out] for out in series]

    def left_with(factor: float) -> float:
        take_factors(monkeypatch, factor)
        laws = [fit_ridge(other, lags=3) for other in others]
        forecasts = [
            windows_of(out, 3, np.arange(2, len(out) - 1)).reshape(-1, 6) @ weights + bias
            for out, (weights, bias) in zip(series, laws, strict=True)
        ]
        return sum(
            float(((out[3:] - forecast) ** 2).sum()) for out, forecast in zip(series, forecasts, strict=True)
        )

    left = [left_with(factor) for factor in FACTORS]
    best = FACTORS[int(np.argmin(left))]
    take_factors(monkeypatch, best)
    expected = fit_ridge(series, lags=3)
    take_factors(monkeypatch, *FACTORS)
    found = fit_ridge(series, lags=3)

    assert best > FACTORS[0]
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_the_forecast_of_each_feature_alone_equals_ridge_regression_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_factors(monkeypatch, 1.0)
    rows = lawful(400)
    weights, bias = fit_own_ridge([rows], lags=3, gap=1)

    for feature in range(2):
        alone, alone_bias = fit_ridge([rows[:, feature : feature + 1]], lags=3, gap=1)
        np.testing.assert_allclose(weights[:, feature], alone[:, 0], atol=1e-8)
        np.testing.assert_allclose(bias[feature], alone_bias[0], atol=1e-8)


@pytest.mark.parametrize("fit", [fit_forecast, fit_outlook])
def test_a_usual_error_of_a_forecast_is_that_of_its_graph(fit) -> None:
    series = [lawful(300), lawful(150, seed=1)]
    part = fit(series, Fitting())
    model = opened((part,), 2)

    usual = part.usual(series)

    for rows, own in zip(series, usual, strict=True):
        errors = model.score(windows_of(rows, part.rows, np.arange(part.rows - 1, len(rows))))[:, 0]
        np.testing.assert_allclose(own, np.maximum(errors.std(axis=0), part.usual_min), rtol=1e-4)


def test_the_subspace_holds_four_fifths_of_the_variance() -> None:
    generator = np.random.default_rng(2)
    rows = (generator.normal(size=(4000, 3)) * [5, 2, 1]).astype(np.float32)

    part = fit_subspace([rows], Fitting())

    flat = windows_of(rows, 20, np.arange(len(rows))).reshape(len(rows), 60) - part.center
    kept = ((flat @ part.basis) ** 2).sum() / (flat**2).sum()
    without_last = ((flat @ part.basis[:, :-1]) ** 2).sum() / (flat**2).sum()
    np.testing.assert_allclose(part.basis.T @ part.basis, np.eye(part.basis.shape[1]), atol=1e-9)
    assert without_last < 0.8 <= kept == pytest.approx(0.8, abs=0.05)


def test_a_subspace_found_by_few_windows_is_the_same_subspace(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = lawful(200).repeat(3, axis=1)
    usual = fit_subspace([rows], Fitting())
    monkeypatch.setattr("stream_infer.models.families.subspace._COVARIANCE_MAX", 0)
    monkeypatch.setattr("stream_infer.models.families.subspace._FEW_WINDOWS", 10_000)

    other = fit_subspace([rows], Fitting())

    assert usual.basis.shape == other.basis.shape
    np.testing.assert_allclose(np.abs(np.linalg.svd(usual.basis.T @ other.basis)[1]), 1, atol=1e-6)


@pytest.mark.parametrize("family", ["forecast", "pca", "ensemble"])
@pytest.mark.parametrize(("features", "rows"), [(1, 100), (1, 3000), (3, 150), (120, 400), (5000, 120)])
def test_any_width_and_length_is_fitted(family: str, features: int, rows: int) -> None:
    series = [np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)] * 2
    done: list[float] = []

    parts = fit_family(family, series, Fitting(progress=done.append))

    assert len(parts) == len(FAMILIES[family])
    assert done[-1] == 1
    assert max(part.rows for part in parts) * features <= max(10 * features, 1000)
    errors = opened(parts, features).score(np.zeros((2, max(p.rows for p in parts), features), np.float32))
    assert np.isfinite(errors).all()
    for part in parts:
        assert (part.usual(series) > 0).all()
