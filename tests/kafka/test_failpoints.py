"""Every failpoint is really reached; a worker that is stuck at one ends itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from stream_infer.errors import StalledError
from tests.chaos.failpoints import POINTS, arm
from tests.chaos.process import ChaosWorker
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]
ARMED = {"CHAOS_PATCHES": f"{arm.__module__}:{arm.__name__}"}

UNDONE = [f"flush.before=undone@{count}" for count in (5, 10, 20, 40)]
"""Several: the abort that follows is refused (INVALID_TXN_STATE) where the brokers have not finished the last one."""


def test_every_point_is_reached(deploy: Deploy, rows: Rows) -> None:
    """One worker that restores, works, gives partitions to a second one, is undone, and is lost while it sleeps."""
    deployment = deploy(
        partitions=4,
        kafka={"group_protocol": "classic"},
        **{"kafka.consumer": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}},
    )
    log = deployment.folder / "reached"
    variables = {
        **ARMED,
        "CHAOS_FAILPOINTS": ",".join([*(f"{point}=note" for point in POINTS), *UNDONE]),
        "CHAOS_FAILPOINTS_LOG": str(log),
    }
    first = ChaosWorker(deployment.config, deployment.folder / "first.log", variables)
    deployment.workers.append(first)
    first.wait_ready()
    deployment.send(rows(2000))
    deployment.wait_committed()
    second = deployment.start()
    second.wait_until(lambda: len(second.facts().get("owned", ())) == 2)  # the first has given them up
    first.pause()
    second.wait_until(lambda: len(second.facts().get("owned", ())) == 4)
    first.resume()
    deadline, sent = time.monotonic() + 120, 2000
    while missing := set(POINTS) - set(log.read_text().split()):
        assert time.monotonic() < deadline, f"never reached: {sorted(missing)}\n{first.text()[-3000:]}"
        sent += deployment.send(rows(100, start=sent))
        time.sleep(0.2)
    deployment.wait_committed()

    assert [first.stop(), second.stop()] == [0, 0]
    assert len(deployment.outcome().scored) == sent


def test_a_worker_that_never_comes_back_from_a_call_ends_itself(deploy: Deploy, rows: Rows) -> None:
    """It is counted for its successor's metrics, and what it held in an open transaction is scored by that one."""
    deployment = deploy(partitions=2, delivery={"slot": "0"})
    count = {"STREAM_INFER__CONTROL__STALLS_FILE": str(deployment.folder / "stalls")}
    hanging = {**ARMED, "CHAOS_FAILPOINTS": "commit.before=sleep(1000)@2"}
    soon = {"STREAM_INFER__DELIVERY__TRANSACTION_TIMEOUT_MS": "2000"}
    stuck = ChaosWorker(deployment.config, deployment.folder / "stuck.log", {**count, **hanging, **soon})
    deployment.workers.append(stuck)
    stuck.wait_ready()
    deployment.send(rows(300))
    deployment.send(rows(300, start=300))

    assert stuck.process.wait(120) == StalledError.exit_code
    assert "no progress, ending the process" in stuck.text()
    assert "failpoints.py" in stuck.stack()
    again = ChaosWorker(deployment.config, deployment.folder / "again.log", count)
    deployment.workers.append(again)
    deployment.wait_committed()
    again.wait_counted("stream_infer_stalls_total 1.0")
    assert again.stop() == 0
    assert len(deployment.outcome().scored) == 600
