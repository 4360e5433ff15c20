"""Alarms, the audit's counting, the summary, and the view at every size."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from stream_infer.config import load
from stream_infer.demo.alarms import Alarm, Alarms
from stream_infer.demo.audit import Audit, measured
from stream_infer.demo.comparing import Compared
from stream_infer.demo.pages import WorkerFigures
from stream_infer.demo.records import ScoredRecord, Topics
from stream_infer.demo.steps import Steps
from stream_infer.demo.summary import Summary
from stream_infer.demo.view import LiveView, PlainProgress
from stream_infer.demo.watch import Seen
from stream_infer.demo.worker_settings import Surroundings, worker_settings
from stream_infer.models.dataset import Dataset

COMPARED = Compared(1200, 1180, 0.987, "promote", "the candidate is right more often")


def dataset(labels: list[int]) -> Dataset:
    """Entity x with these labels, then y with none of them set."""
    count = len(labels)
    return Dataset(
        ("x", "y"),
        ("a",),
        np.repeat(np.array([0, 1], np.int32), count),
        np.tile(np.arange(count, dtype=np.int64), 2),
        np.tile(np.arange(count, dtype=np.int64) * 60_000, 2),
        np.zeros((2 * count, 1), np.float32),
        label=np.array([*labels, *([0] * count)], np.int8),
    )


def record(
    row: int, score: float, entity: str = "x", offset: int | None = None, alert: str | None = None
) -> ScoredRecord:
    """A scored event; without a word on its alert, anomalies are in one and others in none."""
    alert = alert or ("continues" if score >= 2 else "none")
    features = (("a", 1.0),) if score >= 2 else ()
    where = row if offset is None else offset
    return ScoredRecord(row, entity, row * 60_000, score, 2.0, score >= 2, alert, features, 0, where)


def test_a_run_of_anomalies_is_one_alarm_with_its_highest_score() -> None:
    alarms = Alarms(dataset([0, 0, 1, 1, 0, 0]))
    for row, score in enumerate([1.0, 3.0, 9.0, 4.0, 1.0, 1.0]):
        alarms.add(record(row, score))
    (alarm,) = alarms.newest
    assert (alarm.count, alarm.score, alarm.label, alarm.is_open) == (3, 9.0, "hit", False)
    assert (alarm.first_ms, alarm.last_ms) == (60_000, 180_000)
    assert (alarms.events_seen, alarms.events_found, alarms.closed_false_count) == (1, 1, 0)


def test_a_run_without_a_label_is_a_false_alarm_once_it_ends() -> None:
    alarms = Alarms(dataset([0, 0, 0, 1]))
    alarms.add(record(0, 5.0))
    assert alarms.newest[0].is_open
    assert alarms.closed_false_count == 0
    alarms.add(record(1, 1.0))
    assert (alarms.newest[0].label, alarms.closed_false_count) == ("false", 1)
    alarms.add(record(3, 1.0))
    assert (alarms.events_seen, alarms.events_found) == (1, 0), "a labelled event that no anomaly fell into"


def test_an_alarm_lasts_as_long_as_its_alert() -> None:
    alarms = Alarms(dataset([0, 0, 0, 1, 0, 0]))
    steps = [
        (3.0, "begins"),
        (1.0, "continues"),
        (1.0, "ends"),
        (5.0, "begins"),
        (1.0, "ends"),
        (2.0, "begins"),
    ]
    for row, (score, alert) in enumerate(steps):
        alarms.add(record(row, score, alert=alert))
    assert [(a.first_ms, a.last_ms, a.count, a.label, a.is_open) for a in reversed(alarms.newest)] == [
        (0, 120_000, 1, "false", False),
        (180_000, 240_000, 1, "hit", False),
        (300_000, 300_000, 1, "false", True),
    ]


def test_entities_have_their_own_alarms_the_newest_first() -> None:
    alarms = Alarms(dataset([0, 0, 0]))
    alarms.add(record(0, 5.0))
    alarms.add(record(3, 6.0, "y"))
    alarms.add(record(1, 5.0))
    assert [(alarm.entity, alarm.count) for alarm in alarms.newest] == [("y", 1), ("x", 2)]
    assert alarms.alarm_count == 2
    assert [alarm.entity for alarm in alarms.strongest(1)] == ["y"]


def test_only_the_newest_alarms_are_shown() -> None:
    alarms = Alarms(dataset([0] * 200))
    for row in range(200):
        alarms.add(record(row, 5.0 if row % 2 else 1.0))
    assert alarms.alarm_count == 100
    assert len(alarms.newest) == 60
    assert [alarm.first_ms for alarm in alarms.newest[:2]] == [199 * 60_000, 197 * 60_000]


def test_rows_that_nobody_labelled_are_neither_hit_nor_false() -> None:
    alarms = Alarms(replace(dataset([0, 0]), label=None))
    alarms.add(record(0, 5.0))
    alarms.add(record(1, 1.0))
    assert (alarms.newest[0].label, alarms.closed_false_count, alarms.events_seen) == ("none", 0, 0)


def account(inputs: int, outcomes: list[int], sent: int | None = None) -> Audit:
    found = Audit(inputs if sent is None else sent)
    found.inputs = {(0, offset): (b"k", b"v") for offset in range(inputs)}
    for offset in outcomes:
        found.scored.append(record(0, 1.0, offset=offset))
        found.outcomes[0, offset] += 1
    return found


@pytest.mark.parametrize(
    ("found", "lost", "duplicates"),
    [
        (account(3, [0, 1, 2]), 0, 0),
        (account(3, [0, 2]), 1, 0),
        (account(3, [0, 1, 1, 2]), 0, 1),
        (account(3, [0, 1, 2, 7]), 0, 1),  # of what was never an event
        (account(3, [0, 7, 7]), 2, 2),
        (account(2, [0, 1], sent=3), 1, 0),  # the brokers took it, the topic lacks it
        (account(3, [0, 1, 2], sent=2), 0, 1),  # the topic holds more than was sent
        (account(0, []), 0, 0),
    ],
)
def test_what_is_lost_and_what_came_twice(found: Audit, lost: int, duplicates: int) -> None:
    assert (found.lost, found.duplicates) == (lost, duplicates)
    assert found.is_sound == (lost == 0 and duplicates == 0)
    assert Summary(found, None, np.zeros(0), 1.0, paced=True).exit_code == (0 if found.is_sound else 1)


def test_an_altered_reject_is_not_sound() -> None:
    found = account(1, [0])
    found.altered = 1
    assert not found.is_sound


def test_scores_are_measured_in_time_order_whatever_order_they_came_in() -> None:
    labels = [0] * 30 + [1] * 5 + [0] * 30
    data = dataset(labels)
    scores = [9.0 if label else 1.0 for label in labels]
    records = [record(row, score) for row, score in enumerate(scores)]
    forwards, backwards = measured(data, records), measured(data, records[::-1])
    assert forwards is not None
    assert forwards == backwards
    assert forwards.vus_pr == pytest.approx(1.0, abs=0.15)
    assert (forwards.events, forwards.events_found) == (1, 1)
    assert measured(replace(data, label=None), records) is None
    assert measured(data, []) is None


def test_the_json_summary_has_the_promised_keys() -> None:
    summary = Summary(account(4, [0, 1, 2, 3]), None, np.array([1.0, 2.0, 3.0, 100.0]), 2.0, paced=True)
    summary = replace(summary, compared=COMPARED, report=Path("r.html"))
    told = json.loads(json.dumps(summary.as_dict()))
    assert list(told) == [
        "events",
        "scored",
        "rejected",
        "duplicates",
        "lost",
        "seconds",
        "events_per_second",
        "latency_p50_ms",
        "latency_p99_ms",
        "vus_pr",
        "anomalies",
        "compared",
        "agreement",
        "verdict",
        "report",
    ]
    assert told["events_per_second"] == 2.0
    assert told["latency_p50_ms"] == 2.5
    assert told["vus_pr"] is None
    assert (told["compared"], told["agreement"], told["verdict"]) == (1180, 0.987, "promote")


def test_at_full_speed_the_summary_says_what_latency_means() -> None:
    for paced in (True, False):
        console = Console(file=io.StringIO(), width=80)
        alarms = tuple(busy(2).alarms)
        Summary(
            account(1, [0]),
            None,
            np.array([5.0]),
            1.0,
            paced=paced,
            strongest=alarms,
            compared=COMPARED,
            report=Path("r.html"),
        ).print(console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("waiting in the input topic" in text) is not paced
        assert "stream-infer train" in text
        assert "1,180 events compared, agreement 98.7%; promote: the candidate is right more often" in text
        assert "(report: r.html)" in text
        assert text.count("\n") == 13, "nothing is folded where there is no terminal"
        assert not any(line.endswith(" ") for line in text.splitlines())


def busy(alarms: int) -> Seen:
    """A full screen of everything, long names included."""
    features = (("a_rather_long_name_of_a_metric", 0.5), ("b", 0.3), ("c", 0.1))
    one = Alarm("machine-with-a-name-that-goes-on-and-on", 0, 1, 12_345, 1e6, 2.0, features, "hit")
    return Seen(
        inputs=123_456,
        scored=123_000,
        rejected=400,
        anomalies=999,
        per_s=1234.5,
        p50_ms=12.3,
        p99_ms=45_678.9,
        history=tuple(range(60)),
        latency_history=(float("nan"), *map(float, range(59))),
        alarms=[replace(one, is_open=index == 0) for index in range(alarms)],
        alarm_count=alarms,
        reject_errors=tuple((f"error_{index}", index) for index in range(30)),
        last_reject="because " * 30,
    )


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (40, 15)])
@pytest.mark.parametrize("seen", [Seen(), busy(1), busy(60)], ids=["nothing", "little", "much"])
def test_the_view_fits_the_terminal(width: int, height: int, seen: Seen) -> None:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    view = LiveView(console, 200_000, "http://127.0.0.1:12345/metrics · Kafka 127.0.0.1:23456")
    worker = WorkerFigures("running", 1234.0, 56.7, 12.3, 3e8, 0.5)
    lines = console.render_lines(view._drawn(seen, worker, COMPARED, ending=False))
    assert len(lines) == height
    for line in lines:
        assert sum(segment.cell_length for segment in line) <= width
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    if width >= 80:
        assert f"{seen.scored:,} scored + {seen.rejected:,} rejected" in text
        assert "shadow: 1,180 compared · agreement 98.7% · promote" in text
    if seen.alarms and width >= 80:
        assert "✓ hit" in text
        assert "machine-w" in text


def test_plain_progress_says_a_line_at_a_time() -> None:
    console = Console(file=io.StringIO(), width=80)
    progress = PlainProgress(console, 100)
    progress.update(busy(1), WorkerFigures(), COMPARED, ending=False)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined] # too early
    progress._said_s -= 60
    progress.update(busy(1), WorkerFigures(), COMPARED, ending=False)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("\n") == 1, "not folded at the width of a terminal that is not there"
    assert "123,456 of 100 events" in said
    assert "shadow: 1,180 compared" in said


def test_the_worker_settings_load(tmp_path: Path) -> None:
    surroundings = Surroundings("127.0.0.1:1", "http://127.0.0.1:2", Topics(), Path("m"), Path("c"))
    written = tmp_path / "worker.toml"
    written.write_text(worker_settings(surroundings, ["metrics.a", 'metrics.quoted"name']))
    config = load(written, {})
    assert config.input.features == ("metrics.a", 'metrics.quoted"name')
    assert config.control.port == 0
    assert (config.shadow.start, config.compare.topic) == ("earliest", config.shadow.comparison_topic)


def test_steps_are_lines_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=80)
    with Steps(console) as steps:
        steps.begin("Kafka")
        for part in range(100):
            steps.note(
                "Kafka", f"fetched {part}/100 of a file whose name is longer than the line of a terminal is"
            )
        steps.done("Kafka", "127.0.0.1:9092")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:2] == [
        "Kafka …",
        "Kafka: fetched 0/100 of a file whose name is longer than the line of a terminal is",
    ]
    assert lines[-1].startswith("Kafka: 127.0.0.1:9092 (")
    assert len(lines) == 3, "a hundred parts in no time are one line"


def test_steps_are_drawn_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True)
    with Steps(console) as steps:
        steps.begin("Kafka")
        steps.begin("model", "training")
        steps.done("Kafka", "here " * 40)
        (running,) = [line for line in console.render_lines(steps._rendered()) if "model" in str(line)]
        text = "".join(segment.text for segment in running)
        assert "training" in text
        assert "✓" not in text
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "✓" in drawn
