"""Alerts in scored events, across a kill; and thresholds anew from the scored topic of a real worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from stream_infer.cli import main
from stream_infer.models.artifact import Artifact
from stream_infer.windows.alert_kernel import alert_rows
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment

pytestmark = pytest.mark.kafka

ALERTS = ("none", "begins", "continues", "ends")


def test_alerts_outlive_a_kill_and_scores_make_new_thresholds(
    deploy: Callable[..., Deployment], rows: Rows, model: Path, tmp_path: Path
) -> None:
    deployment = deploy(partitions=1, state={"flush_interval_s": 1})
    deployment.send(rows(1500, entities=3))
    worker = deployment.start()
    deployment.wait_committed()
    worker.kill()
    deployment.send(rows(1500, entities=3, start=1500))
    worker = deployment.start()
    deployment.wait_committed()
    worker.stop()
    scored = sorted(deployment.outcome().scored, key=lambda event: event["source_offset"])

    artifact = Artifact.load(model)
    names = sorted({event["entity"] for event in scored})
    entity = np.array([names.index(event["entity"]) for event in scored], np.int32)
    score, threshold = (np.array([event[name] for event in scored]) for name in ("score", "threshold"))
    expected = np.empty(len(scored), np.uint8)
    layout = artifact.manifest.layout
    wanted = np.zeros(3, np.int32)
    alert_rows(entity, score, threshold, layout.release_ratio, layout.release_rows, wanted, expected)
    assert [event["alert"] for event in scored] == [ALERTS[alert] for alert in expected.tolist()]

    made = CliRunner().invoke(
        main,
        [
            *(
                "calibrate",
                "--model",
                str(model),
                "-c",
                str(deployment.config),
                "--out",
                str(tmp_path / "new"),
            ),
            *("--threshold-quantile", "0.9", "--min-rows", "900"),
        ],
    )

    assert made.exit_code == 0, made.output
    assert "3000 rows, new thresholds of 3 entities" in made.output
    new = Artifact.load(tmp_path / "new")
    for number, name in enumerate(names):
        found = new.profiles.threshold[new.profiles.names.index(name.encode())]
        assert found == pytest.approx(np.quantile(score[entity == number], 0.9), rel=1e-9)
