"""A shadow that dies again and again starts twice at once and then once in a pause, whatever file and clock do."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.shadow.restarts import Restarts
from tests.program import PROGRAM, WARM_SETTINGS

PAUSE_S = 60.0
AN_EPOCH_S = 1_800_000_000.0
SLACK_S = 1e-3  # of a float of epoch seconds

SETTINGS = f"""{WARM_SETTINGS.format(model="model")}
[shadow]
model = "candidate"
port = 0
"""


class DiedError(Exception):
    """What ends a start badly."""


class Machine:
    """A wall clock and what was waited."""

    def __init__(self, file, pause_s=PAUSE_S):
        self.now_s = AN_EPOCH_S
        self.waited_s = []
        self._restarts = Restarts(file, pause_s, lambda: self.now_s, self._rest)

    def _rest(self, seconds):
        self.waited_s.append(seconds)
        self.now_s += seconds

    def run(self, ended=DiedError, lived_s=0.0):
        """Start and end once: by an exception, or well. Returns when it began, and how long it had waited."""
        before = len(self.waited_s)
        try:
            with self._restarts.counted():
                began_s = self.now_s
                self.now_s += lived_s
                if ended is not None:
                    raise ended
        except (DiedError, KeyboardInterrupt, SystemExit):
            pass
        return began_s, sum(self.waited_s[before:])


def a_file(folder):
    """One that no example before had."""
    folder.joinpath("restarts").mkdir(exist_ok=True)
    return folder / "restarts" / f"{time.monotonic_ns()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("restarts")


def test_two_starts_are_at_once_then_there_is_one_in_a_pause(tmp_path):
    machine = Machine(tmp_path / "of" / "shadow")

    began_s = [machine.run(lived_s=5.0)[0] - AN_EPOCH_S for _ in range(5)]

    assert began_s == pytest.approx([0, 5, 60, 120, 180], abs=SLACK_S)


def test_what_whoever_starts_it_has_waited_counts(tmp_path):
    machine = Machine(tmp_path / "shadow")
    machine.run()
    machine.run()
    machine.now_s += 50

    assert machine.run()[1] == pytest.approx(10, abs=SLACK_S)
    machine.now_s += PAUSE_S + SLACK_S
    assert machine.run()[1] == 0


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 100)), max_size=40))
def test_no_window_holds_more_than_two_starts_beyond_one_in_each_pause(folder, course):
    machine, began_s = Machine(a_file(folder)), []
    for lived_s, away_s in course:
        at_s, waited_s = machine.run(lived_s=lived_s)
        began_s.append(at_s)
        assert waited_s <= PAUSE_S
        machine.now_s += away_s

    for first in range(len(began_s)):
        for last in range(first, len(began_s)):
            assert last - first + 1 <= 2 + (began_s[last] - began_s[first] + SLACK_S) / PAUSE_S


@given(
    st.lists(
        st.tuples(st.sampled_from([None, KeyboardInterrupt, SystemExit]), st.floats(0, 200)), max_size=40
    )
)
def test_runs_that_end_well_never_wait_and_leave_nothing(folder, course):
    machine = Machine(file := a_file(folder))
    for ended, lived_s in course:
        machine.run(ended, lived_s)

    assert machine.waited_s == []
    assert not file.exists()


def test_a_run_that_ends_well_gives_back_its_own_start_alone(tmp_path):
    machine = Machine(tmp_path / "shadow")
    machine.run(DiedError)
    machine.run(None)
    machine.run(DiedError)

    assert machine.run(DiedError)[1] == pytest.approx(PAUSE_S, abs=SLACK_S)


@given(st.lists(st.floats(-1e9, 1e9), max_size=20), st.binary(max_size=40) | st.none())
def test_clocks_that_jump_and_damaged_files_never_cost_more_than_a_pause(folder, jumps_s, content):
    machine = Machine(file := a_file(folder))
    if content is not None:
        file.write_bytes(content)
    for jump_s in jumps_s:
        assert machine.run()[1] <= PAUSE_S
        machine.now_s += jump_s


@pytest.mark.parametrize("content", ["nan", "inf", "-inf", "1e400", "", "yesterday", "\xff"])
def test_a_damaged_file_is_written_anew(tmp_path, content):
    (tmp_path / "shadow").write_text(content, "latin-1")
    machine = Machine(tmp_path / "shadow")

    assert machine.run()[1] <= PAUSE_S
    assert float((tmp_path / "shadow").read_text()) <= machine.now_s + 2 * PAUSE_S


def test_where_nothing_can_be_written_nothing_waits(tmp_path):
    (tmp_path / "taken").write_text("not a folder")
    machine = Machine(tmp_path / "taken" / "shadow")
    (tmp_path / "folder").mkdir()
    other = Machine(tmp_path / "folder")

    assert [machine.run()[1] for _ in range(5)] == [0] * 5
    assert [other.run()[1] for _ in range(5)] == [0] * 5


def test_two_of_one_name_at_a_time_wait_no_longer(tmp_path):
    machines = [Machine(tmp_path / "shadow") for _ in range(4)]

    assert max(machine.run()[1] for _ in range(10) for machine in machines) <= PAUSE_S


def test_without_a_pause_nothing_is_remembered(tmp_path):
    machine = Machine(tmp_path / "shadow", 0.0)

    assert [machine.run()[1] for _ in range(5)] == [0] * 5
    assert list(tmp_path.iterdir()) == []


def test_what_others_left_long_ago_is_removed(tmp_path):
    for name in ("old", "young"):
        (tmp_path / name).write_text("0")
    os.utime(tmp_path / "old", (1, 1))

    Machine(tmp_path / "shadow").run()

    assert sorted(file.name for file in tmp_path.iterdir()) == ["shadow", "young"]


# --- the command


class Shadow:
    """`stream-infer shadow`, cold; its brokers do not answer. ``folder`` is what it remembers its starts in."""

    def __init__(self, folder):
        self._kept = folder / "stream-infer" / "restarts"
        self._log = folder / "log"
        self._before = self.remembered()
        (folder / "worker.toml").write_text(SETTINGS)
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
        with self._log.open("wb") as sink:
            self.process = subprocess.Popen(
                [PROGRAM, "shadow", "-c", folder / "worker.toml"], stdout=sink, stderr=sink, env=environment
            )

    def remembered(self):
        return {file.name: file.read_text() for file in self._kept.glob("*[!w]")}

    def text(self):
        return self._log.read_text("utf-8", "replace")

    def wait_begun(self):
        """Until its start counts."""
        self._wait(lambda: self.remembered() != self._before)

    def wait_waits(self):
        """Until it waits for its turn."""
        self._wait(lambda: "wait_s=" in self.text())

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(120)

    def _wait(self, found):
        deadline = time.monotonic() + 120
        while not found():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)


def test_a_command_that_was_killed_twice_waits_before_anything_costly_and_ends_at_once(tmp_path):
    stopped = Shadow(tmp_path)
    stopped.wait_begun()
    assert stopped.end(signal.SIGTERM) == 0
    assert stopped.remembered() == {}

    for _ in range(2):
        killed = Shadow(tmp_path)
        killed.wait_begun()
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL

    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        waits = Shadow(tmp_path)
        waits.wait_waits()
        loaded = Path(f"/proc/{waits.process.pid}/maps").read_text()
        assert [name for name in ("numba", "numpy", "confluent_kafka", "onnxruntime") if name in loaded] == []
        assert "shadow.restart_pause_s = 0" in waits.text()
        assert waits.end(number) == (0 if number != signal.SIGKILL else -number)
        assert waits.remembered() == killed.remembered()
    assert f"stopped before it started signal={signal.SIGINT.name}" in waits.text()
