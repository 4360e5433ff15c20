"""The walk of docs/models.md, from training to rollback, runs as printed, beside a worker that has events to score."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, WorkerProcess, stop_reading_at_end
from tests.program import run

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def settings() -> str:
    """Those of the README, with the model of the page."""
    (whole,), own = blocks("README.md", "toml"), blocks("docs/models.md", "toml")[0]
    return whole[: whole.index("[model]")] + own


def test_the_walk_runs_as_printed(
    deploy: Callable[..., Deployment], rows: Rows, kafka: str, tmp_path: Path
) -> None:
    deployment = deploy(partitions=4)
    here = tmp_path / "here"
    here.mkdir()
    (here / "stream_infer").symlink_to(ROOT / "stream_infer")
    (here / "worker.toml").write_text(
        settings().replace('url = "http://localhost:8081"', f'dir = "{deployment.folder}/schemas"')
    )
    environment = {
        "STREAM_INFER__APP__ID": deployment.app,
        "STREAM_INFER__INPUT__TOPIC": deployment.topic,
        "STREAM_INFER__KAFKA__BOOTSTRAP_SERVERS": kafka,
        "STREAM_INFER__CONTROL__PORT": "0",
        "STREAM_INFER__MODEL__POLL_INTERVAL_S": "0.2",
    }

    def call(command: list[str]) -> str:
        done = run(command, folder=here, environment=environment)
        return done.stdout + done.stderr

    def score(count: int, start: int) -> None:
        deployment.send(rows(count, start=start))
        deployment.wait_committed()

    first, second, third = (
        [line.split()[2:] for line in block.splitlines()] for block in blocks("docs/models.md", "console")
    )
    assert [command[:2] for command in (*first, *second, *third)] == [
        ["train", "--data"],
        ["export", "--model"],
        ["model", "register"],
        ["topics", "create"],
        ["run", "-c"],
        ["train", "--data"],
        ["model", "register"],
        ["model", "list"],
        ["model", "promote"],
        ["model", "history"],
        ["model", "rollback"],
    ]
    said = [call(command) for command in first[:-1]]
    assert "flips" in said[1], "the table"
    worker = WorkerProcess(here / "worker.toml", here / "worker.log", environment)
    deployment.workers.append(worker)
    worker.wait_ready()
    score(400, 0)
    said = [call(command) for command in second]
    assert "[challenger]" in said[2]
    worker.wait_until(lambda: worker.facts().get("version") == "2")
    score(400, 400)
    assert re.search(r"events  detector 2\n", call(third[0]))
    said = [call(third[1])]
    assert "400 corrections are in" in said[0]
    assert worker.stop() == 0
    assert len(stop_reading_at_end(kafka, f"{deployment.topic}.corrected")) == 400
