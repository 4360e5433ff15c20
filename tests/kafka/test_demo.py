"""The demo as a user runs it: what it accounts for, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from stream_infer.demo.breakage import KINDS

pytestmark = pytest.mark.kafka

_MARK = "STREAM_INFER_TEST_MARK"
_START_S = 200.0
_ON_A_FULL_MACHINE = {"STREAM_INFER__SHADOW__PRIORITY": "normal", "STREAM_INFER__REGISTRY__TIMEOUT_S": "60"}


@dataclass
class Demo:
    """A demo in a process group of its own. All it starts inherits ``mark`` and ``folder`` (TMPDIR)."""

    process: subprocess.Popen[str]
    mark: str
    folder: Path

    def end(self, timeout_s: float = 500.0) -> tuple[int, str, str]:
        """Wait for its end: status, standard output, standard error."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def wait_for(self, line_start: str) -> str:
        """Read standard error up to a line that begins so, and give it."""
        assert self.process.stderr is not None
        deadline = time.monotonic() + _START_S
        said = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith(line_start):
                return line
            assert time.monotonic() < deadline, said
        raise AssertionError(f"ended early: {said}")

    def processes(self) -> dict[int, str]:
        """Pid -> command line of everything it started that runs."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended meanwhile, or is not ours
        return {pid: command for pid, command in found.items() if command}

    def assert_nothing_is_left(self) -> None:
        deadline = time.monotonic() + 60
        while left := self.processes():  # what a killed process had started ends a moment after it
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        # onnxruntime writes a file of its own when it is imported, the same one for all programs.
        assert [path.name for path in self.folder.iterdir() if path.name != ".ses"] == []


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.communicate(timeout=60)


def start(demos: list[Demo], tmp_path: Path, *options: str) -> Demo:
    mark, folder = uuid.uuid4().hex, tmp_path / f"tmp{len(demos)}"
    folder.mkdir()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "stream-infer", "demo", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **_ON_A_FULL_MACHINE, _MARK: mark, "TMPDIR": str(folder)},
    )
    demos.append(Demo(process, mark, folder))
    return demos[-1]


def wait_scored(said: str) -> None:
    """Wait until the worker, whose address was said, has scored something."""
    metrics = urljoin(said.split()[1], "metrics")
    deadline = time.monotonic() + _START_S
    while not re.search(
        r"^stream_infer_scored_total [1-9]", httpx.get(metrics, timeout=30).text, re.MULTILINE
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_event_is_accounted_for(demos: list[Demo], tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    options = ("--events", "4000", "--rate", "0", "--broken", "0.01", "--report", str(report))
    demo = start(demos, tmp_path, *options)
    status, out, err = demo.end()
    assert status == 0, err
    told = json.loads(out)
    assert out.count("\n") == 1
    assert told["events"] == 4000
    assert told["rejected"] == 40
    assert told["rejected"] >= len(KINDS), "each way of breaking an event is there"
    assert told["scored"] == 3960
    assert (told["lost"], told["duplicates"]) == (0, 0)
    assert 0 < told["latency_p50_ms"] <= told["latency_p99_ms"]
    assert told["events_per_second"] == pytest.approx(4000 / told["seconds"], rel=0.01)
    assert told["anomalies"] > 0
    assert told["vus_pr"] > 0.2, "the labelled event among these rows is found far better than by chance"
    assert told["compared"] == told["scored"]
    assert told["agreement"] > 0.9
    assert told["verdict"] == "undecided", "no verdict before 10,000 events"
    assert told["report"] == str(report)
    assert "Undecided: candidate" in report.read_text("utf-8")
    assert len(json.loads(report.with_suffix(".json").read_text("utf-8"))["comparisons"]) == 1
    demo.assert_nothing_is_left()


def test_ctrl_c_ends_the_flow_and_accounts_for_what_was_sent(demos: list[Demo], tmp_path: Path) -> None:
    demo = start(demos, tmp_path, "--events", "60000", "--rate", "1000")
    wait_scored(demo.wait_for("worker: http"))
    assert any("java" in command for command in demo.processes().values())
    demo.process.send_signal(signal.SIGINT)
    status, out, err = demo.end()
    assert status == 0, err
    told = json.loads(out)
    assert 0 < told["events"] < 60_000
    assert told["events"] == told["scored"] + told["rejected"]
    assert (told["lost"], told["duplicates"]) == (0, 0)
    demo.assert_nothing_is_left()


def test_a_process_that_dies_is_named_and_the_rest_is_put_away(demos: list[Demo], tmp_path: Path) -> None:
    demo = start(demos, tmp_path, "--events", "60000", "--rate", "500")
    demo.wait_for("worker: http")
    # The first: a child that it forks has its name until it becomes another program.
    worker = min(pid for pid, command in demo.processes().items() if " run -c " in command)
    os.kill(worker, signal.SIGKILL)
    status, out, err = demo.end()
    assert status == 1
    assert out == ""
    assert "error: the worker ended by itself (status 137)" in err
    assert "control port=" in err, "with the last lines of its log"
    demo.assert_nothing_is_left()


def test_it_can_be_ended_while_it_starts(demos: list[Demo], tmp_path: Path) -> None:
    demo = start(demos, tmp_path)
    demo.wait_for("schema registry")
    time.sleep(0.3)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.end()[0] == 128 + signal.SIGTERM
    demo.assert_nothing_is_left()
