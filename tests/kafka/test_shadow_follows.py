"""The shadow follows an alias: another challenger takes over in mid-stream, each comparison names its own."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.models.artifact import Artifact
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, ends
from tests.kafka.test_shadow import both, sending, wait_compared

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]


def test_another_challenger_under_load(
    deploy: Deploy, rows: Rows, detector: DirectoryRegistry, model: Path, tmp_path: Path
) -> None:
    """Then a backtest by the same alias: it takes what the alias means, and keeps to it."""
    detector.point("challenger", "1")
    deployment = deploy(
        model={"path": str(model), "poll_interval_s": 0.1, "max_flips": 0.0},
        shadow={"source": str(tmp_path / "models" / "detector@challenger"), "port": 0, "start": "earliest"},
    )
    deployment.start()
    began_at = time.monotonic()
    shadow = deployment.start("shadow")
    thread = sending(deployment, rows(3600), 1500)
    shadow.wait_until(lambda: shadow.facts().get("compared", 0) > 0)
    detector.point("challenger", "2")
    thread.join()
    shadow.wait_until(lambda: shadow.facts().get("version") == "2")
    deployment.send(rows(300, start=3600))
    wait_compared(deployment)

    passed_s = time.monotonic() - began_at
    found = both(deployment, model)
    assert len(found.pairs) == 3900
    # Each transaction leaves a marker in a partition that it wrote to: at most one a second, the swap, a rebalance.
    compared = f"{deployment.topic}.compared"
    marker_count = sum(ends(deployment.servers, compared).values()) - len(found.pairs)
    assert marker_count <= deployment.partitions * (passed_s + 5)
    versions: dict[int, list[str]] = defaultdict(list)
    primary = Artifact.load(model).manifest.version
    for pair in found.pairs:
        said, seen = pair["shadow"], versions[pair["source_partition"]]
        assert (said["model_name"], pair["primary"]["model_version"]) == ("detector", primary)
        factor = {"1": 1.0, "2": 0.9}[said["model_version"]]
        assert said["threshold"] == pytest.approx(pair["primary"]["threshold"] * factor)
        if not seen or seen[-1] != said["model_version"]:
            seen.append(said["model_version"])
    assert all(seen in (["1", "2"], ["2"]) for seen in versions.values()), versions
    assert ["1", "2"] in versions.values()
    assert shadow.stop() == 0

    again = deployment.start("shadow", "--from", "earliest", "--to", "600", ready=False)
    assert again.process.wait(150) == 0, again.text()
    found = both(deployment, model, "compared.backtest")
    assert len(found.pairs) == 1800
    assert {pair["shadow"]["model_version"] for pair in found.pairs} == {"2"}
