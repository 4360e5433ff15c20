"""docs/reliability.md is what docs/reliability.json says; reports merge without losing a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.chaos.merge import merged, written
from tests.chaos.page import PAGE, page


def report(seed: int, **changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "passed": True,
        "scenario": "worker-kill",
        "seed": seed,
        "protocol": "classic",
        "started_s": 1_790_000_000.0 + seed,
        "took_s": 90.0,
        "duration_s": 60.0,
        "versions": {"kafka": "4.3.1", "stream-infer": "0.1.0", "commit": "abc", "librdkafka": "2.16.0"},
        "rig": {},
        "faults": {"kill -9 of a worker": 20},
        "fault_log": [],
        "events": {"sent": 1000, "acked": 1000, "transactions": 50},
        "exits": {"8": 1, "drain 0": 3},
        "violations": {},
        "examples": {},
        "error": "",
        "measured": {"worker kill -9": [1.0, 2.0, 3.0]},
        "mutant": "",
    }
    return whole | changes


def test_the_page_is_what_the_json_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.chaos page"


def test_a_failed_run_stays_and_is_named(tmp_path: Path) -> None:
    bad = {
        "passed": False,
        "violations": {"lost": 3},
        "examples": {"lost": ["0:17", "0:18"]},
        "markers_left_out": {"app.scored-0": 2},
    }
    for seed, changes in (
        (1, {}),
        (2, bad),
        (3, {"passed": False, "error": "Traceback\n  x\nTimeoutError: late|r\n"}),
    ):
        (tmp_path / f"{seed}.json").write_text(json.dumps(report(seed, **changes)))
    (tmp_path / "all.json").write_text(written(merged([tmp_path])))
    text = page(tmp_path / "all.json")

    why = "lost: 3 (0:17); brokers left transaction markers out (KAFKA-20734): app.scored-0 (2)"
    assert f"| worker-kill | classic | 4.3.1 | abc | 2 | {why} |" in text
    assert "| worker-kill | classic | 4.3.1 | abc | 3 | TimeoutError: late\\|r |" in text
    assert "| all | 3 | 60 | 3,000 | 150 | 3 | 0 | 0 | 0 | 2 |" in text
    assert (
        "is that of seed 2, below. Runs since then: 1, with 20 faults and 1,000 events, none of which" in text
    )
    assert "ended a worker 3 times (5.00 % of all faults)" in text
    assert "in 1 runs, 0 of them with all brokers away at once: it was found in 1 (0 of those)" in text
    assert "something was lost, doubled or torn in 1." in text
    assert "| worker kill -9 | classic | abc | 9 | 2.00 | 3.00 | 3.00 |  |" in text


def test_the_newest_commit_of_a_fault_is_told_first_and_the_others_stay(tmp_path: Path) -> None:
    versions = {"kafka": "4.3.1", "stream-infer": "0.1.0", "librdkafka": "2.16.0"}
    for seed, (commit, took_s) in enumerate((("old", 7.0), ("new", 1.0), ("new", 3.0))):
        changes = {"versions": {**versions, "commit": commit}, "measured": {"broker kill -9": [took_s]}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(report(seed, **changes)))
    (tmp_path / "all.json").write_text(written(merged([tmp_path])))
    told, _, folded = page(tmp_path / "all.json").partition("<details>")

    assert "| broker kill -9 | classic | new | 2 | 2.00 | 2.90 | 3.00 | 10 |" in told
    assert "| broker kill -9 | classic | old | 1 | 7.00 | 7.00 | 7.00 |" in folded
    assert "| old |" not in told


def test_a_run_that_never_began_is_none(tmp_path: Path) -> None:
    nothing = {"passed": False, "error": "no brokers", "faults": {}, "events": {"sent": 0, "acked": 0}}
    (tmp_path / "1.json").write_text(json.dumps(report(1, **nothing)))

    assert merged([tmp_path]) == []


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps(report(1)))
    once = written(merged([tmp_path]))
    (tmp_path / "all.json").write_text(once)

    assert written(merged([tmp_path / "all.json", tmp_path])) == once


def test_a_mutant_that_nothing_was_found_of_is_not_caught(tmp_path: Path) -> None:
    found = {"passed": False, "violations": {"doubled": 3}, "mutant": "no rewind"}
    (tmp_path / "1.json").write_text(json.dumps(report(1, **found)))
    (tmp_path / "2.json").write_text(json.dumps(report(2, mutant="commit first")))
    (tmp_path / "all.json").write_text(written(merged([tmp_path])))
    text = page(tmp_path / "all.json")

    assert "1 of 2 are caught" in text
    assert "| no rewind | worker-kill | 1 | doubled (3) | yes |" in text
    assert "| commit first | worker-kill | 1 |  | NO |" in text
    assert "| all | 0 | 0 |" in text
