"""A supervised command never outlives its owner, whatever the owner dies of."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from stream_infer.embedded.process import Supervisor, last_lines
from stream_infer.errors import WorkerError

OWNER = """
import sys, time
from pathlib import Path
from stream_infer.embedded.process import Supervisor
directory = Path(sys.argv[1])
supervisor = Supervisor(grace_s=float(sys.argv[2]), remove=directory)
supervisor.open()
pid = supervisor.start("one", sys.argv[3:], directory / "log")
print(pid, flush=True)
time.sleep(600)
"""
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(600)",
)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or as it was read
        return False


def wait_until(check, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def supervisor(tmp_path):
    opened = Supervisor(grace_s=0.2)
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("command", [("sleep", "600"), STUBBORN])
def test_kill_9_of_the_owner_ends_the_command_and_removes_the_directory(directory, command):
    with owner_of(directory, command) as (owner, pid):
        assert alive(pid)
        owner.kill()
        wait_until(lambda: not alive(pid))
        wait_until(lambda: not directory.exists())


def test_a_fork_that_holds_the_pipe_does_not_keep_the_command_alive(directory):
    forking = OWNER.replace("time.sleep(600)", "import os\ntime.sleep(600 if os.fork() else 60)")
    with owner_of(directory, ("sleep", "600"), forking) as (owner, pid):
        owner.kill()
        wait_until(lambda: not alive(pid), timeout_s=40)


def test_a_fork_that_holds_the_pipe_does_not_delay_the_end(tmp_path):
    program = """
import os, signal, sys, time
from pathlib import Path
from stream_infer.embedded.process import Supervisor
supervisor = Supervisor(grace_s=0.2)
supervisor.open()
supervisor.start("one", ["sleep", "600"], Path(sys.argv[1]))
fork = os.fork()
if not fork:
    time.sleep(50)
    os._exit(0)
started = time.monotonic()
supervisor.close()
print(time.monotonic() - started)
os.kill(fork, signal.SIGKILL)
"""
    words = [sys.executable, "-c", program, str(tmp_path / "log")]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=180, check=True)
    assert float(done.stdout) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_kill_9_of_the_supervisor_ends_the_command(supervisor, tmp_path):
    pid = supervisor.start("one", ["sleep", "600"], tmp_path / "log")
    supervisor._program.kill()
    wait_until(lambda: not alive(pid))
    with pytest.raises(WorkerError, match="supervisor"):
        supervisor.status("one")


def test_commands_are_signalled_and_their_ends_reported(supervisor, tmp_path):
    log = tmp_path / "log"
    supervisor.start("killed", ["sleep", "600"], log)
    supervisor.start("failed", ["sh", "-c", "echo why; exit 3"], log)
    assert supervisor.wait("failed", 60) == 3
    assert last_lines(log, 1) == "why"
    assert set(supervisor.pids) == {"killed"}
    assert supervisor.wait("killed", 0.1) is None
    supervisor.send("killed", signal.SIGKILL)
    assert supervisor.wait("killed", 60) == 128 + signal.SIGKILL
    supervisor.send("killed", signal.SIGTERM)  # of no effect, and no error
    with pytest.raises(WorkerError, match="no-such-program"):
        supervisor.start("absent", ["no-such-program"], log)


def test_a_paused_or_stubborn_command_is_ended(tmp_path):
    supervisor = Supervisor(grace_s=0.2)
    supervisor.open()
    paused = supervisor.start("paused", ["sleep", "600"], tmp_path / "paused")
    stubborn = supervisor.start("stubborn", STUBBORN, tmp_path / "stubborn")
    wait_until(lambda: last_lines(tmp_path / "stubborn", 1) == "1")
    supervisor.send("paused", signal.SIGSTOP)
    supervisor.close()
    assert not alive(paused)
    assert not alive(stubborn)
    supervisor.close()  # a second time is no error
    with pytest.raises(WorkerError, match="not started, or has been stopped"):
        supervisor.status("paused")


def test_a_terminal_interrupt_does_not_reach_the_command(supervisor, tmp_path):
    pid = supervisor.start("one", ["sleep", "600"], tmp_path / "log")
    assert os.getpgid(pid) != os.getpgid(0)
    assert os.getsid(pid) != os.getsid(0)


@contextmanager
def owner_of(directory, command, program=OWNER):
    words = [sys.executable, "-c", program, str(directory), "0.2", *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as owner:
        try:
            yield owner, int(owner.stdout.readline())
        finally:
            owner.kill()
