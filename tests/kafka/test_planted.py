"""A candidate that is worse is kept out, one that is better promoted: live, on real rows with their labels.

The worker follows ``current``, the shadow ``challenger``; the verdict between the two moves the alias, or does not.

`python -m load verdicts` does the same with all rows of a data set.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from load.planted import equal_runs, hobbled, offline_pairs
from stream_infer.data import sample_path
from stream_infer.embedded.ports import free_ports
from stream_infer.errors import NotPromotedError
from stream_infer.model_registry.directory import DirectoryRegistry
from tests.kafka.comparisons import summary
from tests.kafka.deployment import Deployment, Event, WorkerProcess, encode
from tests.kafka.test_model_swap import history
from tests.program import run

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

FROM_MINUTE, MINUTES = 2000, 1200
"""Of the sample's test rows: with a real incident on each of two machines."""
LATER = 300
"""Events sent after the verdict."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def bad(folder: Path) -> Path:
    """A model that learned from rows in random order."""
    rows = hobbled(sample_path(), folder / "rows.parquet")
    run(["train", "--data", rows, "--out", folder / "hobbled"])
    return folder / "hobbled"


def events() -> list[Event]:
    """The stretch, by time."""
    table = pq.read_table(sample_path())
    known = ["entity_id", "seq", "ts", "split", "label"]
    features = np.column_stack([table[name].to_numpy() for name in table.column_names if name not in known])
    entity, ts = table["entity_id"].to_pylist(), table["ts"].cast("int64").to_numpy()
    test = np.flatnonzero(np.array(table["split"].to_pylist()) == "test")
    minute = (ts - ts[test].min()) // 60_000
    rows = test[(minute[test] >= FROM_MINUTE) & (minute[test] < FROM_MINUTE + MINUTES)]
    rows = rows[np.argsort(ts[rows], kind="stable")].tolist()
    return [encode(entity[row], int(ts[row]), features[row].tolist(), f"e-{row}") for row in rows]


def counts(content: dict[str, Any]) -> tuple[int, int]:
    """Events, and labelled ones: the two are counted apart."""
    totals = [one["total"] for one in content.get("comparisons", [])]
    labelled = sum(total["labels"]["events"] for total in totals if total["labels"])
    return sum(total["events"] for total in totals), labelled


def counted(app: WorkerProcess, port: int, count: int) -> dict[str, Any]:
    """Wait until so many events are compared, and their labels counted."""
    deadline = time.monotonic() + 120
    while counts(content := summary(port)) != (count, count) or not content["is_whole"]:
        assert app.process.poll() is None, app.text()
        assert time.monotonic() < deadline, f"{counts(content)} of {count}: {app.text()[-3000:]}"
        time.sleep(0.3)
    return content


@pytest.mark.parametrize(("case", "verdict"), [("worse", "keep"), ("better", "promote")])
def test_a_planted_candidate_gets_its_verdict(
    deploy: Callable[..., Deployment], model: Path, bad: Path, tmp_path: Path, case: str, verdict: str
) -> None:
    port = free_ports(1)[0]
    source = tmp_path / "models" / "detector"
    registry = DirectoryRegistry(source)
    paths = (model, bad) if case == "worse" else (bad, model)
    for alias, version, path in zip(("current", "challenger"), "12", paths, strict=True):
        registry.add(path, version, {})
        registry.point(alias, version)
    deployment = deploy(
        model={"source": f"{source}@current", "poll_interval_s": 0.1},
        shadow={"source": f"{source}@challenger", "port": 0, "start": "earliest"},
        compare={
            "labels": str(sample_path()),
            "minimum_events": 1000,
            "verdict_interval_s": 0.5,
            "port": port,
        },
    )
    sent = deployment.send(events())
    app = deployment.start("compare", ready=False)
    worker = deployment.start()
    deployment.start("shadow")
    live = counted(app, port, sent)["comparisons"]
    page = deployment.folder / "report.html"
    report = ["compare", "report", "-c", deployment.config, "--from-topic", "-o", page]
    run(report, folder=deployment.folder)
    offline = json.loads(page.with_suffix(".json").read_text("utf-8"))["comparisons"]

    assert [one.pop("quality") is not None for one in offline] == [True]
    assert live == offline
    assert live[0]["verdict"]["verdict"] == verdict, live[0]["verdict"]
    assert "right more often" in live[0]["verdict"]["reason"]
    promote = ["model", "promote", source, "challenger", "--on-verdict", "--timeout", "2m"]
    done = run([*promote, "-c", deployment.config], check=False)

    expected = (0, "2") if case == "better" else (NotPromotedError.exit_code, "1")
    assert (done.returncode, registry.resolve("current").version) == expected, done.stdout + done.stderr
    worker.wait_until(lambda: worker.facts().get("version") == expected[1])
    deployment.send(events()[:LATER])
    deployment.wait_committed()
    scored: Counter[str] = Counter()
    for stretch in history(deployment):
        scored[stretch["version"]] += stretch["events"]
    assert scored == ({"1": sent, "2": LATER} if case == "better" else {"1": sent + LATER})


def test_equal_models_seldom_get_one(model: Path, bad: Path, folder: Path) -> None:
    """The two models of the sample, exchanged by coin."""
    scores = [folder / f"{name}.parquet" for name in ("good", "bad")]
    for path, one in zip(scores, (model, bad), strict=True):
        run(["score", "--data", sample_path(), "--model", one, "--split", "test", "--out", path])
    pairs = offline_pairs(*scores)

    found = equal_runs(pairs, 200, alpha=0.05)

    assert found.is_within, str(found)
    assert found.blocks > 100
    assert equal_runs(pairs, 20, alpha=0.9).wrong > 5  # a test that cannot fail is none
