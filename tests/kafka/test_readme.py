"""The README's commands and its settings run as printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.kafka.deployment import WorkerProcess
from tests.program import PROGRAM

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ").split() for line in lines if line.startswith("$ stream-infer")]


def test_the_walk_through_runs_as_printed(kafka: str, registry: str, tmp_path: Path) -> None:
    (tmp_path / "stream_infer").symlink_to(ROOT / "stream_infer")
    (settings,) = blocks("toml")
    (tmp_path / "worker.toml").write_text(settings)
    here = {
        "STREAM_INFER__APP__ID": f"readme-{tmp_path.name}",
        "STREAM_INFER__INPUT__TOPIC": f"readme-{tmp_path.name}",
        "STREAM_INFER__KAFKA__BOOTSTRAP_SERVERS": kafka,
        "STREAM_INFER__REGISTRY__URL": registry,
        "STREAM_INFER__REGISTRY__TIMEOUT_S": "60",
        "STREAM_INFER__CONTROL__PORT": "0",
    }
    printed = commands()
    assert [command[1] for command in printed] == ["train", "topics", "check", "run"]
    for command in printed[:-1]:
        done = subprocess.run(
            [PROGRAM, *command[1:]],
            cwd=tmp_path,
            env={**os.environ, **here},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    worker = WorkerProcess(tmp_path / "worker.toml", tmp_path / "worker.log", here, forked=False)
    try:
        worker.wait_ready()
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_files_that_the_documents_name_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} names {target}"


def test_make_targets_that_the_documents_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"make ([a-z]+)\b", page.read_text("utf-8"))}

    assert named >= {"demo", "test", "bench"}
    assert all(
        re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named & {"demo", "test", "bench", "lint"}
    )
