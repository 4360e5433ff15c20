"""What dies is started again as the orchestrator does whose pauses were asked for."""

import sys
from itertools import islice

import pytest

from load.again import PAUSES, again


@pytest.mark.parametrize(
    ("orchestrator", "first_s", "longest_s"),
    [
        ("kubernetes", [0, 10, 20, 40, 80, 160, 300, 300], 300),
        ("docker", [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8], 60),
        ("none", [0, 0, 0, 0, 0, 0, 0, 0], 0),
    ],
)
def test_pauses_are_those_that_the_orchestrator_documents(orchestrator, first_s, longest_s):
    pauses_s = list(islice(PAUSES[orchestrator](), 20))

    assert pauses_s[:8] == pytest.approx(first_s)
    assert max(pauses_s) == longest_s


def test_a_command_that_ends_and_one_that_does_not_are_started_once_a_pause(tmp_path):
    starts, rested = tmp_path / "starts", []
    ending = f"open({str(starts)!r}, 'a').write('x')"

    again(600, iter([1.0, 2.0, 4.0]), [sys.executable, "-c", ending], rested.append)
    again(0.2, iter([8.0]), [sys.executable, "-c", "import time; time.sleep(600)"], rested.append)

    assert starts.read_text() == "xxx"
    assert rested == [1.0, 2.0, 4.0, 8.0]


def test_time_that_a_command_waits_by_itself_does_not_count(tmp_path):
    began = tmp_path / "began"
    waits = f"""
import pathlib, sys, time
print("WARNING waits wait_s=60", file=sys.stderr, flush=True)
time.sleep(3.5)
pathlib.Path({str(began)!r}).touch()
"""

    def pauses():
        """Again, where the machine was too slow for it to say so within 3 s."""
        for _ in range(5):
            if began.exists():
                return
            yield 0.0

    again(3, pauses(), [sys.executable, "-c", waits])

    assert began.exists()
