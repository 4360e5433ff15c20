"""Standardisation and windows equal the plain formula; sampling is even and bounded."""

from __future__ import annotations

import numpy as np

from stream_infer.models.families.sampling import spread_evenly, windows_of
from stream_infer.models.standard import fill_missing, fit_standard, standardised


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


def test_sampling_is_even_and_in_proportion() -> None:
    series = [np.zeros((rows, 2), np.float32) for rows in (1000, 500, 3)]

    chosen = list(spread_evenly(series, first=3, limit=150))

    at = [numbers for _, numbers in chosen if len(numbers)]
    assert sum(map(len, at)) == 150
    assert len(at[0]) in (100, 101)
    assert set(np.diff(at[0])) <= {9, 10, 11}
    assert at[0].min() >= 3


def test_sampling_of_very_many_short_entities_takes_some_of_them() -> None:
    series = [np.zeros((10, 1), np.float32)] * 1000

    used = sum(len(at) for _, at in spread_evenly(series, first=0, limit=100))

    assert used == 100


def test_sampling_comes_in_pieces_that_fit_memory() -> None:
    rows = np.zeros((5000, 300), np.float32)

    pieces = [at for _, at in spread_evenly([rows], first=0, limit=10**9)]

    assert np.concatenate(pieces).tolist() == list(range(5000))
    assert max(map(len, pieces)) * 300 * 20 <= 1 << 22
