"""Runs one scenario and reports it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from load.events import training_file
from tests.chaos.checker import Findings
from tests.chaos.cluster import Cluster
from tests.chaos.gather import check
from tests.chaos.report import Report
from tests.chaos.rig import Options, Rig
from tests.chaos.scenario import Scenario, load_all
from tests.kafka.deployment import PROGRAM

__all__ = ["run_scenario", "trained_model"]


def run_scenario(
    name: str,
    *,
    cluster: Cluster,
    model: Path,
    seed: int,
    protocol: str = "consumer",
    duration_s: float = 60.0,
    out: Path | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Report:
    """Run one scenario, check it, and write its report to the folder ``out``.

    ``options`` override those of the scenario. The folder of a run that failed is kept in ``out``: settings and logs.
    """
    found = load_all()[name]
    whole = Options(seed, protocol, duration_s, **{**found.rig, **options})
    say(f"{name} seed={seed} protocol={protocol} duration={duration_s:g} s")
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    report = _run(found, cluster, model, folder, whole)
    say(f"  {report.line()}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        stem = f"{name}-{protocol}-{seed}-{int(report.started_s)}"
        (out / f"{stem}.json").write_text(json.dumps(report.as_json(), indent=1), "utf-8")
        if not report.passed:
            shutil.copytree(folder, out / stem)
    shutil.rmtree(folder)
    return report


def _run(found: Scenario, cluster: Cluster, model: Path, folder: Path, options: Options) -> Report:
    rig, began = Rig(cluster, model, folder, options), time.time()
    findings, evidence, error = Findings(), None, ""
    try:
        with rig:
            found.body(rig, Random(options.seed))
            rig.settle()
            findings, evidence = check(rig)
            rig.stop_workers()
    except Exception:  # noqa: BLE001 - whatever happened, the run failed, and is reported as such
        error = traceback.format_exc()
    return Report.of(found.name, rig, began, findings, evidence, error)


def trained_model(folder: Path) -> Path:
    """Train the model that the runs score with."""
    data = training_file(folder / "rows.parquet")
    model = folder / "model"
    subprocess.run(
        [PROGRAM, "train", "--data", data, "--out", model, "--name", "chaos"], check=True, capture_output=True
    )
    return model
