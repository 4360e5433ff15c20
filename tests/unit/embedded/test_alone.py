"""What two processes want at the same time is made by one of them."""

import multiprocessing
import os
import signal
import threading

from stream_infer.embedded.alone import alone
from stream_infer.embedded.aot import AotCache


class Jvm:
    fingerprint = "0" * 16


def hold(path, held):
    with alone(path):
        held.set()
        threading.Event().wait(600)


def test_the_second_waits_for_the_first(tmp_path):
    path, order, inside = tmp_path / "new" / "it", [], threading.Event()

    def second():
        inside.wait(60)
        with alone(path):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(path):
        inside.set()
        thread.join(0.5)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_a_lock_is_waited_for_so_long_and_gone_with_its_holder(tmp_path):
    forks = multiprocessing.get_context("forkserver")
    held = forks.Event()
    holder = forks.Process(target=hold, args=(tmp_path / "it", held), daemon=True)
    holder.start()
    assert held.wait(120)
    with alone(tmp_path / "it", within_s=0.2):
        pass  # it goes on without
    os.kill(holder.pid, signal.SIGKILL)
    with alone(tmp_path / "it", within_s=600):
        pass
    holder.join(60)


def test_a_cache_that_was_recorded_meanwhile_is_not_recorded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runs = []
    cache = AotCache(Jvm())

    def run(flags):
        runs.append(flags)
        path = flags[0].partition("=")[2]
        with open(path, "w", encoding="ascii") as file:
            file.write("classes")

    cache.record(run, print)
    assert cache.flags()
    AotCache(Jvm()).record(run, print)
    assert len(runs) == 1
