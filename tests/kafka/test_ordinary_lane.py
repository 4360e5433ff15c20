"""The core of the promises on the ordinary lane; the rest of the suite runs on whichever lane proves itself.

All of it on the ordinary lane: STREAM_INFER__KAFKA__LANE=ordinary make test
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, Event

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]
TRACE = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("private", b"x"))
POISON = Event(b"machine-1-2", b"\0\0\0\0\7", TRACE)


@pytest.mark.parametrize("lane", ["ordinary", "native"])
def test_the_lane_in_use_is_told(deploy: Deploy, rows: Rows, lane: str) -> None:
    deployment = deploy()
    deployment.send(rows(300))
    worker = deployment.start(KAFKA__LANE=lane)
    deployment.wait_committed()

    assert worker.status()["facts"]["lane"] == lane
    assert len(deployment.outcome().scored) == 300


@pytest.mark.parametrize("mode", ["exactly_once", "at_least_once"])
def test_events_and_poison_through_kill_9(deploy: Deploy, rows: Rows, mode: str) -> None:
    """Headers are passed on, each event is scored once (or at least once) and poison is rejected with its bytes."""
    deployment = deploy(kafka={"lane": "ordinary"}, delivery={"mode": mode})
    events = [Event(event.key, event.value, TRACE) for event in rows(4_000)]
    mixed = [one for at in range(0, 4_000, 200) for one in (*events[at : at + 200], POISON)]
    first = deployment.start()
    thread = threading.Thread(target=deployment.send, args=(mixed, 2_000))
    thread.start()
    time.sleep(1.0)
    first.kill()
    deployment.start(ready=False)
    thread.join()
    deployment.wait_committed()
    outcome = deployment.outcome()

    assert len(outcome.scored) >= 4_000
    assert {(m.key(), m.value()) for m in outcome.rejected} == {(POISON.key, POISON.value)}
    assert {tuple(m.headers()) for m in outcome.scored_messages} == {TRACE[:1]}
    if mode == "exactly_once":
        assert (len(outcome.scored), len(outcome.rejects)) == (4_000, 20)
