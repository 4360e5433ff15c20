"""A process that gives way says so to the kernel, and so do its threads."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="policies are Linux's")

_SAY = """
import os, sys, threading
from stream_infer.priority import give_way
give_way(sys.argv[1])
def say():
    print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))
thread = threading.Thread(target=say)
thread.start()
thread.join()
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.mark.parametrize(
    ("priority", "policy", "nicer_by"),
    [("idle", os.SCHED_IDLE, 19), ("low", os.SCHED_OTHER, 19), ("normal", os.SCHED_OTHER, 0)],
)
def test_threads_of_a_process_that_gives_way(priority: str, policy: int, nicer_by: int) -> None:
    said = subprocess.check_output([sys.executable, "-c", _SAY, priority], text=True, timeout=60).split()
    assert said == [str(policy), str(min(19, os.getpriority(os.PRIO_PROCESS, 0) + nicer_by)), "1000"]
