"""Every failpoint is really reached."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.chaos.failpoints import POINTS, arm
from tests.chaos.process import ChaosWorker
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]


def test_every_point_is_reached(deploy: Deploy, rows: Rows) -> None:
    """One worker that restores, works, gives partitions to a second one, is undone, and is lost while it sleeps."""
    deployment = deploy(
        partitions=4,
        kafka={"group_protocol": "classic"},
        **{"kafka.consumer": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}},
    )
    log = deployment.folder / "reached"
    variables = {
        "CHAOS_PATCHES": f"{arm.__module__}:{arm.__name__}",
        "CHAOS_FAILPOINTS": ",".join([*(f"{point}=note" for point in POINTS), "flush.before=undone@5"]),
        "CHAOS_FAILPOINTS_LOG": str(log),
    }
    first = ChaosWorker(deployment.config, deployment.folder / "first.log", variables)
    deployment.workers.append(first)
    first.wait_ready()
    deployment.send(rows(2000))
    deployment.wait_committed()
    second = deployment.start()
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
