"""The watchdog ends a process that makes no progress, and only for time in which it could have made some."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.errors import StalledError
from stream_infer.watchdog import StallCount, Watchdog


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    event = threading.Event()
    monkeypatch.setattr("stream_infer.watchdog.os._exit", lambda _: event.set())
    monkeypatch.setattr("stream_infer.watchdog.faulthandler.dump_traceback", lambda _: None)
    return event


def test_a_stalled_process_ends_with_its_own_code() -> None:
    program = (
        "import time; from stream_infer.watchdog import Watchdog; "
        "Watchdog(lambda: 9.0, 0.2).open(); time.sleep(200)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=180, check=False)

    assert done.returncode == StalledError.exit_code
    assert b"no progress" in done.stderr


def test_an_end_is_counted_over_processes(tmp_path: Path) -> None:
    file = tmp_path / "stalls"
    program = (
        "import sys, time; from pathlib import Path; from stream_infer.watchdog import StallCount, Watchdog; "
        "Watchdog(lambda: 9.0, 0.2, StallCount(Path(sys.argv[1])).add).open(); time.sleep(200)"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program, file], timeout=180, check=False)
        assert done.returncode == StalledError.exit_code

    assert StallCount(file).count == 2
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"many", b"-3", b"\xff"])
def test_a_damaged_count_begins_anew(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "stalls"
    file.write_bytes(content)
    stalls = StallCount(file)
    stalls.add()

    assert StallCount(file).count == 1


def test_what_cannot_be_written_keeps_nobody(ended: threading.Event, tmp_path: Path) -> None:
    never = threading.Event()
    watchdog = Watchdog(lambda: 9.0, 0.2, never.wait)
    StallCount(tmp_path / "no folder" / "stalls").add()
    watchdog.open()
    came = ended.wait(120)
    never.set()
    watchdog.close()

    assert came


def test_time_before_it_was_opened_does_not_count(ended: threading.Event) -> None:
    """A warm-up that compiles for minutes is no stall."""
    watchdog = Watchdog(lambda: 1000.0, 60.0)
    watchdog.open()
    early = ended.wait(2.5)
    watchdog.close()

    assert not early


def test_time_in_which_the_process_was_frozen_does_not_count() -> None:
    program = (
        "import os, signal, time; from stream_infer.watchdog import Watchdog; began = time.monotonic(); "
        "Watchdog(lambda: time.monotonic() - began, 4.0).open(); time.sleep(0.5); "
        "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(2.5); print('alive')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        time.sleep(5.0)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=120)

    assert (said, process.returncode) == ("alive\n", 0)


def test_progress_keeps_it_quiet(ended: threading.Event) -> None:
    age: Callable[[], float] = lambda: 0.1  # noqa: E731
    watchdog = Watchdog(age, 0.5)
    watchdog.open()
    early = ended.wait(1.0)
    watchdog.close()

    assert not early
