"""The fault tests in their short form: some of every kind, with each protocol (``make chaos`` is the long form)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.hunt import caught, hunt_one
from tests.chaos.mutants import MUTANTS
from tests.chaos.run import run_scenario, trained_model
from tests.chaos.scenarios_composite import SHORT_FAULTS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_SEED = 20
_LONGEST_S = 240.0
_TRIES = 3


@pytest.fixture(scope="module")
def cluster(compiled: None) -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_model(tmp_path_factory.mktemp("chaos-model"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_nothing_is_lost_doubled_or_torn(
    cluster: Cluster, model: Path, protocol: str, tmp_path: Path
) -> None:
    report = run_scenario(
        "short",
        cluster=cluster,
        model=model,
        seed=_SEED,
        protocol=protocol,
        duration_s=_LONGEST_S,
        out=tmp_path,
    )

    assert not report.error, report.error
    assert not report.violations, report.examples
    assert sum(report.faults.values()) >= SHORT_FAULTS
    assert report.events["scored"] + report.events["rejected"] >= report.events["acked"] > 1000


@pytest.mark.timeout(600)
def test_a_wrong_worker_is_found_out(cluster: Cluster, model: Path, tmp_path: Path) -> None:
    """One of all (``python -m tests.chaos mutants``), so that the checks above are known to find something."""
    mutant = MUTANTS["does-not-rewind"]
    missed = []
    for seed in range(_SEED, _SEED + _TRIES):  # whether a strike tells is up to the moment that it comes at
        report = hunt_one(mutant, cluster, model, tmp_path, duration_s=8.0, seed=seed)
        if caught(mutant, report):
            return
        missed.append(f"{report.violations} {report.error}")
    pytest.fail(f"not caught: {missed}")
