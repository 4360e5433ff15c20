"""What the long runs play: every scenario somewhere, every failpoint often enough."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.chaos.failpoints import POINTS
from tests.chaos.rounds import all_rounds
from tests.chaos.scenario import load_all
from tests.chaos.scenarios_failpoints import fault_of
from tests.chaos.scenarios_relay import legs
from tests.chaos.sweep import missing, struck_in


def run(protocol: str, faults: dict[str, int], **changes: Any) -> dict[str, Any]:
    return {"protocol": protocol, "faults": faults, "passed": True, "mutant": ""} | changes


def test_a_point_is_missing_until_it_was_struck_often_enough() -> None:
    struck = Counter({fault_of(point): 20 for point in POINTS})
    struck[fault_of("flush.after")] = 19

    assert missing(Counter(), 1) == POINTS
    assert missing(struck, 20) == ("flush.after",)
    assert missing(struck, 19) == ()


def test_only_what_passed_with_the_protocol_counts() -> None:
    fault = fault_of("commit.before")
    runs = [
        run("classic", {fault: 3, "SIGTERM of a worker": 9}),
        run("classic", {fault: 4}),
        run("classic", {fault: 100}, passed=False),
        run("classic", {fault: 100}, mutant="does-not-rewind"),
        run("consumer", {fault: 100}),
    ]

    assert struck_in(runs, "classic")[fault] == 7


def test_a_round_plays_every_scenario_that_belongs_to_it() -> None:
    played = {*all_rounds(), *(found.name for found in legs())}

    assert played == {name for name, found in load_all().items() if found.rounds}
    assert len(legs()) >= 15
    assert not {"recovery", "failpoints", "model", "registry"} & {found.name for found in legs()}
