"""The measurements measure: small runs of them on the real broker, whose results are checked as in all runs."""

import pytest

from load.plan import Plan
from load.scenarios import SCENARIOS
from load.stand import Stand

pytestmark = pytest.mark.kafka

SMALL = Plan(repeats=1, events=10_000, rival_events=3_000, seconds=2)


@pytest.fixture(scope="module")
def stand(kafka):
    with Stand(print, servers=kafka) as stand:
        yield stand


def test_a_drain_has_the_worker_and_the_rival(stand):
    worker, plain = SCENARIOS["drain"](stand, SMALL)

    assert (worker.program, worker.events, plain.program, plain.events) == ("worker", 10_000, "plain", 3_000)
    assert worker.figures["cpu_us_per_event"] > 0
    assert worker.figures["transactions"] >= 0
    assert {"decode", "window", "score", "judge", "publish"} <= worker.stage_us.keys()
    assert plain.stage_us == {}
