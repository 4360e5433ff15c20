"""A small model that is trained for real, once for all tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.models.artifact import Artifact
from stream_infer.models.families.forecast import Forecast
from stream_infer.models.graph import build_graph
from stream_infer.models.manifest import Manifest, Term
from stream_infer.windows.profiles import Profiles

FEATURES = 3
LAGS = 4


@pytest.fixture(scope="session")
def forecast() -> Forecast:
    generator = np.random.default_rng(7)
    term = Term(name="forecast", smoothing=0.1, clip=1000.0)
    weights = generator.normal(size=(LAGS * FEATURES, FEATURES))
    return Forecast(term, weights, generator.normal(size=FEATURES), gap=0, usual_min=0.2)


@pytest.fixture(scope="session")
def artifact(forecast: Forecast) -> Artifact:
    generator = np.random.default_rng(8)
    profiles = Profiles(
        names=(b"one", "zwei-ü".encode()),
        center=generator.normal(size=(3, FEATURES)),
        spread=generator.uniform(0.1, 2, size=(3, FEATURES)),
        error_sd=generator.uniform(0.2, 2, size=(3, 1, FEATURES)).astype(np.float32),
        scale=generator.uniform(0.1, 2, size=(3, 1)),
        threshold=generator.uniform(2, 5, size=3),
    )
    manifest = Manifest(
        name="small",
        version="1",
        features=tuple(f"f{index}" for index in range(FEATURES)),
        window=LAGS + 1,
        missing="impute",
        terms=(Term(name="forecast", smoothing=0.1, clip=1000.0),),
        data_fingerprint="0" * 64,
        metrics={"train_rows": 10.0},
        files={},
    )
    return Artifact.of(manifest, build_graph(LAGS + 1, FEATURES, (forecast,)), profiles)
