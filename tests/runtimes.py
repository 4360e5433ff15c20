"""What every runtime keeps to, as a suite that each of them runs: ``class TestMine(RuntimeContract)``."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stream_infer.models.artifact import Artifact
from stream_infer.models.families.autoencoder import Autoencoder
from stream_infer.models.families.forecast import Forecast, OwnForecast
from stream_infer.models.families.network import Network
from stream_infer.models.families.part import Part
from stream_infer.models.families.subspace import Subspace
from stream_infer.models.graph import build_graph
from stream_infer.models.manifest import Manifest, Term
from stream_infer.models.model import Model
from stream_infer.windows.profiles import Profiles

FEATURES = 4
ROWS = 5

Windows = NDArray[np.float32]

any_windows = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.just(ROWS), st.just(FEATURES)),
    elements=st.floats(-30, 30, width=32),
)


def drawn_parts() -> tuple[Part, ...]:
    """One part of each kind, so that one model has every operator that training writes."""
    rng = np.random.default_rng(7)
    width = ROWS * FEATURES
    basis, _ = np.linalg.qr(rng.normal(size=(width, 3)))
    layers = tuple(
        (rng.normal(size=(a, b)).astype(np.float32) / a, rng.normal(size=b).astype(np.float32))
        for a, b in pairwise((width, 12, 3, 12, width))
    )

    def term(name: str) -> Term:
        return Term(name=name, smoothing=0.3, clip=1000.0)

    weights = rng.normal(size=((ROWS - 1) * FEATURES, FEATURES)) / width
    return (
        Forecast(term("forecast"), weights, rng.normal(size=FEATURES), 0, 0.2),
        OwnForecast(term("outlook"), rng.normal(size=(2, FEATURES)), rng.normal(size=FEATURES), 1, 0.2),
        Subspace(rng.normal(size=width), basis, FEATURES),
        Autoencoder(Network(layers), FEATURES),  # type: ignore[arg-type]
    )


PARTS = drawn_parts()


def reference(windows: Windows) -> Windows:
    """What the formulas of the parts say, in numpy."""
    return np.stack([part.errors(windows[:, ROWS - part.rows :]) for part in PARTS], axis=1)


def drawn_artifact(version: str = "1") -> Artifact:
    """An artifact of all parts."""
    rng = np.random.default_rng(8)
    terms = tuple(part.term.model_copy(update={"name": f"t{n}"}) for n, part in enumerate(PARTS))
    profiles = Profiles(
        names=(b"one", b"two"),
        center=rng.normal(size=(3, FEATURES)),
        spread=rng.uniform(0.1, 2, size=(3, FEATURES)),
        error_sd=rng.uniform(0.2, 2, size=(3, len(terms), FEATURES)).astype(np.float32),
        scale=rng.uniform(0.1, 2, size=(3, len(terms))),
        threshold=rng.uniform(2, 5, size=3),
    )
    manifest = Manifest(
        name="contract",
        version=version,
        features=tuple(f"f{index}" for index in range(FEATURES)),
        window=ROWS,
        missing="impute",
        terms=terms,
        data_fingerprint="0" * 64,
        metrics={},
        files={},
    )
    return Artifact.of(manifest, build_graph(ROWS, FEATURES, PARTS), profiles)


def some_windows(count: int, seed: int = 1) -> Windows:
    return np.random.default_rng(seed).normal(size=(count, ROWS, FEATURES)).astype(np.float32)


class RuntimeContract:
    """A subclass has a fixture ``open_model``: how its runtime opens the artifact of all parts."""

    tolerance = 1e-4
    wide = 20_000

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, open_model: Callable[[], Model]) -> Model:
        return open_model()

    def same(self, found: Windows, wanted: Windows) -> None:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=self.tolerance, atol=self.tolerance)

    def test_it_says_what_it_is(self, model: Model) -> None:
        assert (model.name, model.version) == ("contract", "1")
        assert (model.layout.window, model.layout.features, model.layout.terms) == (ROWS, FEATURES, 4)

    @given(windows=any_windows)
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    def test_it_says_what_the_formulas_say(self, model: Model, windows: Windows) -> None:
        self.same(model.score(windows), reference(windows))

    def test_the_same_batch_gives_the_same_bits(self, model: Model) -> None:
        windows = some_windows(257)
        np.testing.assert_array_equal(model.score(windows), model.score(windows))

    def test_a_split_batch_gives_what_the_whole_one_gives(self, model: Model) -> None:
        windows = some_windows(100)
        cuts = [1, 2, 3, 17, 64]
        split = np.concatenate([model.score(part) for part in np.split(windows, cuts)])
        self.same(split, model.score(windows))

    def test_an_empty_batch_gives_no_errors(self, model: Model) -> None:
        assert model.score(some_windows(0)).shape == (0, 4, FEATURES)

    def test_a_wide_batch(self, model: Model) -> None:
        windows = some_windows(self.wide)
        self.same(model.score(windows), reference(windows))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_window_that_is_not_finite_spoils_its_own_row_alone(self, model: Model, value: float) -> None:
        windows = some_windows(33)
        spoilt = windows.copy()
        spoilt[11, 3, 2] = value

        errors = model.score(spoilt)

        assert not np.isfinite(errors[11]).all()
        others = np.arange(33) != 11
        self.same(errors[others], reference(windows)[others])

    def test_windows_are_left_as_they_are_and_errors_stay_what_they_were(self, model: Model) -> None:
        windows = some_windows(16)
        given_windows = windows.copy()
        first = model.score(windows)
        kept = first.copy()

        model.score(some_windows(16, seed=2))

        np.testing.assert_array_equal(windows, given_windows)
        np.testing.assert_array_equal(first, kept)

    def test_windows_that_lie_apart_in_memory(self, model: Model) -> None:
        """The scorer gives whole arrays; a probe may give a view."""
        windows = some_windows(40)
        self.same(model.score(windows[::2]), reference(windows)[::2])

    def test_two_threads_may_ask_at_once(self, model: Model) -> None:
        batches = [some_windows(300, seed) for seed in range(6)]
        found: dict[int, Windows] = {}

        def ask(number: int) -> None:
            for at in range(number, len(batches), 2):
                found[at] = model.score(batches[at])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        for at, windows in enumerate(batches):
            self.same(found[at], reference(windows))

    def test_a_model_that_is_let_go_and_opened_again(self, open_model: Callable[[], Model]) -> None:
        windows = some_windows(9)
        for _ in range(3):
            model = open_model()
            self.same(model.score(windows), reference(windows))
            del model
            gc.collect()
