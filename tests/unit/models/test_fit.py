"""What training learns from rows equals the plain formula."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.models import OnnxModel
from stream_infer.models.fit import (
    fill_missing,
    fit_error_sd,
    fit_forecast,
    fit_standard,
    fit_subspace,
    standardised,
    windows_of,
)
from stream_infer.models.graph import build_graph
from stream_infer.windows.layout import Layout


def test_standard_floors_the_spread_by_the_fleet() -> None:
    moving = np.array([[0.0], [4.0]])  # sd 2, range 4
    calm = np.array([[1.0], [1.2]])  # sd 0.1, range 0.2
    still = np.array([[7.0], [7.0]])

    standard = fit_standard([moving, calm, still])

    # The median sd over the entities that move is 1.05.
    np.testing.assert_allclose(standard.center[:, 0], [2, 1.1, 7])
    np.testing.assert_allclose(standard.spread[:, 0], [2, 0.1, 1.05])
    np.testing.assert_allclose([standard.fleet_center[0], standard.fleet_spread[0]], [2, 1.05])


def test_standard_leaves_missing_and_infinite_values_out() -> None:
    rows = np.array([[1.0, np.nan, np.inf], [3.0, np.nan, 2.0], [np.nan, np.nan, 4.0]])

    standard = fit_standard([rows])

    np.testing.assert_allclose(standard.center, [[2, 0, 3]])
    np.testing.assert_allclose(standard.spread, [[1, 1, 1]])


def test_missing_values_take_the_one_before() -> None:
    rows = np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan]], np.float32)

    np.testing.assert_array_equal(fill_missing(rows), [[0, 1], [2, 1], [2, 1]])


def test_standardised_is_linear_in_the_middle_and_logarithmic_outside() -> None:
    z = standardised(np.array([[3.1], [1e6]]), np.array([3.0]), np.array([1.0]))

    np.testing.assert_allclose(z[:, 0], [0.1, 5 * np.log(2 * (1e6 - 3) / 5)], rtol=1e-4)


def test_windows_are_padded_with_the_first_row() -> None:
    rows = np.arange(4, dtype=np.float32)[:, None]

    windows = windows_of(rows, 3, np.array([0, 1, 3]))

    assert windows[:, :, 0].tolist() == [[0, 0, 0], [0, 0, 1], [1, 2, 3]]


def test_the_forecast_finds_the_law_of_a_series() -> None:
    generator = np.random.default_rng(0)
    weights = np.array([[0.0, 0.3], [0.2, 0.0], [0.5, 0.0], [0.0, -0.4]])  # two rows before, two features
    series = []
    for _ in range(3):
        rows = generator.normal(size=(6000, 2)).astype(np.float32)
        for row in range(2, len(rows)):
            rows[row] += rows[row - 2 : row].reshape(4) @ weights + [0.7, -0.2]
        series.append(rows)

    forecast = fit_forecast(series, lags=2)

    assert forecast.lags == 2
    np.testing.assert_allclose(forecast.weights, weights, atol=0.03)
    np.testing.assert_allclose(forecast.bias, [0.7, -0.2], atol=0.05)


def test_the_forecast_equals_ridge_regression_with_a_free_intercept() -> None:
    rows = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32) + 3
    before = np.stack([rows[row - 2 : row].reshape(4) for row in range(2, 60)]).astype(float)
    target = rows[2:].astype(float)
    centered = before - before.mean(0)

    forecast = fit_forecast([rows], lags=2)

    expected = np.linalg.solve(centered.T @ centered + 10 * np.eye(4), centered.T @ (target - target.mean(0)))
    np.testing.assert_allclose(forecast.weights, expected, atol=1e-6)
    np.testing.assert_allclose(forecast.bias, target.mean(0) - before.mean(0) @ expected, atol=1e-5)


def test_error_sd_equals_that_of_the_graph() -> None:
    rows = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
    forecast = fit_forecast([rows], lags=4)
    model = OnnxModel.open(build_graph(5, forecast), ("m", "1"), Layout(5, 3, 1, (0.1,), (1e3,), "impute"))

    error_sd = fit_error_sd([rows[:150], rows], forecast)

    errors = model.score(windows_of(rows, 5, np.arange(4, 300)))[:, 0]
    np.testing.assert_allclose(error_sd, [errors[:146].std(axis=0), errors.std(axis=0)], rtol=1e-5)


def test_the_subspace_holds_four_fifths_of_the_variance() -> None:
    generator = np.random.default_rng(2)
    rows = (generator.normal(size=(4000, 3)) * [5, 2, 1]).astype(np.float32)

    subspace = fit_subspace([rows], window=2)

    flat = windows_of(rows, 2, np.arange(len(rows))).reshape(len(rows), 6) - subspace.center
    kept = ((flat @ subspace.basis) ** 2).sum() / (flat**2).sum()
    without_last = ((flat @ subspace.basis[:, :-1]) ** 2).sum() / (flat**2).sum()
    np.testing.assert_allclose(subspace.basis.T @ subspace.basis, np.eye(subspace.basis.shape[1]), atol=1e-9)
    assert without_last < 0.8 <= kept == pytest.approx(0.8, abs=0.2)
