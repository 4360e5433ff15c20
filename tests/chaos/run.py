"""Runs one scenario and reports it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from load.events import HOSTS, training_file
from tests.chaos.checker import Findings
from tests.chaos.cluster import Cluster
from tests.chaos.gather import check
from tests.chaos.options import Options
from tests.chaos.report import Report
from tests.chaos.rig import Rig
from tests.chaos.scenario import Scenario, load_all
from tests.program import run

__all__ = ["run_scenario", "trained_model"]

_TRAINING_ROWS = 150
_AFTER_MUTANT_S = 5.0


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
    keep: bool = False,
    **options: Any,
) -> Report:
    """Run one scenario, check it, and write its report to the folder ``out``.

    ``options`` override those of the scenario. The folder of a run that failed, or of any if it is to ``keep`` them, is
    put into ``out``: settings, and the logs of workers and brokers.
    """
    found = load_all()[name]
    whole = Options(seed, protocol, duration_s, **{**found.rig, **options})
    said = f"protocol={protocol} kafka={cluster.version} lane={whole.lane} duration={duration_s:g} s"
    say(f"{name} seed={seed} {said}")
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
    rig = Rig(cluster, model, folder, whole)
    report = _run(found, rig)
    say(f"  {report.line()}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        stem = f"{name}-{protocol}-{seed}-{int(report.started_s)}"
        (out / f"{stem}.json").write_text(json.dumps(report.as_json(), indent=1), "utf-8")
        if keep or not report.passed:
            rig.broker_logs.copy_to(folder)
            shutil.copytree(folder, out / stem)
    shutil.rmtree(folder)
    return report


def _run(found: Scenario, rig: Rig) -> Report:
    began, findings, evidence, error = time.time(), Findings(), None, ""
    try:
        with rig:
            found.body(rig, Random(rig.options.seed))
            if rig.options.mutant:  # what the last strike has done shows once events come after it
                rig.wait(_AFTER_MUTANT_S)
            _settle(rig)
            findings, evidence = check(rig)
            rig.stop_workers()
    except Exception:  # noqa: BLE001 - whatever happened, the run failed, and is reported as such
        error = traceback.format_exc()
    return Report.of(found.name, rig, began, findings, evidence, error)


def _settle(rig: Rig) -> None:
    """Bring the rig to its quiet end. A mutant may never come there, and is judged as it is then."""
    try:
        rig.settle()
    except TimeoutError:
        if not rig.options.mutant:
            raise


def trained_model(folder: Path) -> Path:
    """Train the model that the runs score with, on the beginning of each host's rows: it need not be a good one."""
    data, model = training_file(folder / "rows.parquet"), folder / "model"
    table = pq.read_table(data)
    per_host = len(table) // HOSTS
    pq.write_table(table.take(np.flatnonzero(np.arange(len(table)) % per_host < _TRAINING_ROWS)), data)
    run(["train", "--data", data, "--out", model, "--name", "chaos"])
    return model
