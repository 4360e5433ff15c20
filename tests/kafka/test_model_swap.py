"""Another version of the model takes over in mid-stream: nothing is lost or doubled, each event names its version."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.models.artifact import Artifact
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment
from tests.kafka.test_worker import sending
from tests.program import run

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]
SWAPS = 100
GROWTH_BYTES = 30_000_000


def following(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    source = {"source": str(tmp_path / "models" / "detector@current"), "poll_interval_s": 0.1}
    return {"model": source | settings}


def history(deployment: Deployment) -> list[dict[str, Any]]:
    """What `stream-infer model history` says."""
    told = run(["model", "history", "-c", deployment.config, "--json"])
    return [json.loads(line) for line in told.stdout.splitlines()]


def greedy(artifact: Artifact) -> bytes:
    """The artifact's graph, and a terabyte of zeros in each call."""
    model = onnx.load_from_string(artifact.model)
    nodes = model.graph.node
    nodes[-1].output[0] = "errors_alone"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 38], np.int64), "terabyte"))
    nodes.append(helper.make_node("ConstantOfShape", ["terabyte"], ["zeros"]))
    nodes.append(helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0))
    nodes.append(helper.make_node("Add", ["errors_alone", "zero"], ["errors"]))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed"])
def test_a_swap_under_load(
    deploy: Deploy, rows: Rows, detector: DirectoryRegistry, tmp_path: Path, *, killed: bool
) -> None:
    deployment = deploy(**following(tmp_path))
    worker = deployment.start()
    thread = sending(deployment, rows(6000), 1500)
    worker.wait_until(lambda: "stream_infer_scored_total 0.0\n" not in worker.get("metrics").text)
    detector.point("current", "2")
    if killed:
        worker.kill()
        worker = deployment.start(ready=False)
    thread.join()
    deployment.wait_committed()
    worker.wait_until(lambda: worker.facts().get("version") == "2")
    deployment.send(rows(300, start=6000))
    deployment.wait_committed()

    scored = deployment.outcome().scored
    assert len(scored) == 6300
    assert {event["model_name"] for event in scored} == {"detector"}
    versions: dict[int, list[str]] = defaultdict(list)
    for event in sorted(scored, key=lambda e: (e["source_partition"], e["source_offset"])):
        seen = versions[event["source_partition"]]
        if not seen or seen[-1] != event["model_version"]:
            seen.append(event["model_version"])
    assert all(seen in (["1", "2"], ["2"]) for seen in versions.values()), versions
    assert ["1", "2"] in versions.values() or killed
    stretches = history(deployment)
    assert sum(stretch["events"] for stretch in stretches) == 6300
    facts = worker.facts()
    assert facts["model_aliases"] == ["current"]
    assert facts["model_uri"] == str(tmp_path / "models" / "detector" / "2")
    assert f'uri="{facts["model_uri"]}"' in worker.get("metrics").text
    for partition, seen in versions.items():
        assert [s["version"] for s in stretches if s["partition"] == partition] == seen
    assert worker.stop() == 0


def test_versions_that_do_not_fit_are_refused_and_the_one_in_use_goes_on(
    deploy: Deploy, rows: Rows, detector: DirectoryRegistry, model: Path, tmp_path: Path
) -> None:
    artifact = Artifact.load(model)
    narrow = dataclasses.replace(artifact.profiles, threshold=artifact.profiles.threshold * 1e-6)
    Artifact.of(artifact.manifest, artifact.model, narrow).save(tmp_path / "alarmist")
    detector.add(tmp_path / "alarmist", "alarmist", {})
    features = (*artifact.manifest.features[1:], artifact.manifest.features[0])
    shuffled = artifact.manifest.model_copy(update={"features": features})
    Artifact.of(shuffled, artifact.model, artifact.profiles).save(tmp_path / "shuffled")
    detector.add(tmp_path / "shuffled", "shuffled", {})
    detector.add(tmp_path / "2", "damaged", {})
    Artifact.of(artifact.manifest, greedy(artifact), artifact.profiles).save(tmp_path / "greedy")
    detector.add(tmp_path / "greedy", "greedy", {})
    damaged = tmp_path / "models" / "detector" / "damaged" / "model.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")

    deployment = deploy(**following(tmp_path))
    worker = deployment.start()
    deployment.send(rows(600))
    deployment.wait_committed()
    for version, reason in (
        ("damaged", "not the file the manifest names"),
        ("shuffled", "takes other features"),
        ("alarmist", "otherwise than the version in use"),
        ("greedy", "it wants more memory"),
    ):
        detector.point("current", version)
        worker.wait_until(lambda: str(worker.facts().get("model_refused")).startswith(version))  # noqa: B023
        assert reason in worker.facts()["model_refused"]
    assert worker.facts()["version"] == "1"
    worker.wait_counted('stream_infer_model_versions_total{outcome="refused"} 4.0')

    deployment.send(rows(300, start=600))
    deployment.wait_committed()
    assert {event["model_version"] for event in deployment.outcome().scored} == {"1"}


@pytest.mark.slow
def test_memory_returns_after_many_swaps(
    deploy: Deploy, rows: Rows, detector: DirectoryRegistry, tmp_path: Path
) -> None:
    deployment = deploy(partitions=1, **following(tmp_path))
    worker = deployment.start()
    deployment.send(rows(600))
    deployment.wait_committed()

    def swap(number: int) -> int:
        version = str(2 - number % 2)
        detector.point("current", version)
        worker.wait_until(lambda: worker.facts().get("version") == version)
        lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    sizes = [swap(number) for number in range(SWAPS)]

    early, late = min(sizes[SWAPS // 5 : SWAPS // 2]), min(sizes[-SWAPS // 5 :])
    assert late - early < GROWTH_BYTES, sizes
    deployment.send(rows(300, start=600))
    deployment.wait_committed()
    assert len(deployment.outcome().scored) == 900
