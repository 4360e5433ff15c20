"""Sums over runs, and what is drawn of them."""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

from load.figures import shown
from load.measurement import Measurement, Spread, ratio, spread
from load.page import page
from load.plots import Dot, dots, stacks, ticks
from load.processes import Strangers, usage
from load.report import cases_of, ratios, read, save
from load.stages import stages_between, worked_on

WORKER = [
    Measurement(
        "drain", "exactly once", "worker", 10, {"events_per_s": rate, "p50_ms": 4.0}, {"decode": 0.5}, 0.02
    )
    for rate in (300.0, 200.0)
]
PLAIN = [Measurement("drain", "exactly once", "plain", 10, {"events_per_s": rate}) for rate in (30.0, 10.0)]
TURNS = [WORKER[0], PLAIN[0], WORKER[1], PLAIN[1]]


def test_a_ratio_pairs_runs_in_their_order():
    assert ratio(WORKER, PLAIN, "events_per_s") == Spread(15.0, 10.0, 20.0)
    assert ratio(WORKER, PLAIN, "p50_ms") is None
    assert ratio(WORKER, PLAIN[:1], "events_per_s") == Spread(10.0, 10.0, 10.0)


def test_nothing_has_no_spread():
    with pytest.raises(ValueError, match="spread"):
        spread([])


def test_ratios_are_to_each_rival_or_to_the_first_case():
    (found,) = ratios(TURNS, shown(TURNS))
    assert found == ("exactly once: worker / plain", "events/s", Spread(15.0, 10.0, 20.0))

    grown = [
        Measurement("keys", case, "worker", 10, {"cpu_us_per_event": us})
        for case, us in (("10", 2.0), ("20", 3.0))
    ]
    assert list(ratios(grown, shown(grown))) == [("20 / 10", "CPU us/event", Spread(1.5, 1.5, 1.5))]


def test_runs_are_gathered_by_case_and_program():
    assert list(cases_of(TURNS).values()) == [WORKER, PLAIN]


def test_what_was_saved_is_read_back(tmp_path):
    save(tmp_path / "bench.json", TURNS)

    assert read(tmp_path / "bench.json") == TURNS
    assert "<svg" in (tmp_path / "bench.html").read_text()


def test_a_figure_without_a_description_is_shown_too():
    one = Measurement("swap", "any", "worker", 1, {"pause_ms": 3.0, "events_per_s": 1.0})

    assert [figure.title for figure in shown([one])] == ["events/s", "pause ms"]


def test_the_page_needs_nothing_and_says_when_it_was_noisy():
    noisy = Measurement("drain", "a < b & c", "worker", 10, {"events_per_s": 3.0}, strangers=0.4)
    text = page([*TURNS, noisy], {"cores": 2}, {"drain": ["x 15"]})

    assert "not quiet in 1 of 5 runs" in text
    assert "a &lt; b &amp; c" in text
    assert "http" not in text
    assert "The machine was quiet in every run" in page(TURNS, {}, {})


def svg_of(text):
    return ET.fromstring(text)


def test_dots_stand_in_the_order_of_their_values():
    rows = [
        Dot(str(value), "kind-0", Spread(value, value * 0.9, value * 1.1)) for value in (1.0, 10.0, 1000.0)
    ]
    for chosen in (rows, rows[:2]):  # logarithmic, linear
        places = [float(dot.get("cx")) for dot in svg_of(dots("any", chosen)).iter("circle")]
        assert places == sorted(places)
        assert all(330 <= place <= 760 for place in places)


def test_a_plot_of_nothing_is_nothing():
    assert dots("any", []) == ""
    assert stacks("any", [("a", {})], []) == ""
    assert "circle" in dots("zeros", [Dot("zero", "kind-0", Spread(0, 0, 0))])


def test_the_parts_of_a_bar_end_where_the_next_begin():
    bars = list(svg_of(stacks("any", [("a", {"x": 1.0, "y": 3.0})], ["x", "y"])).iter("rect"))
    first, second = ((float(bar.get("x")), float(bar.get("width"))) for bar in bars)

    assert first[0] + first[1] == pytest.approx(second[0], abs=0.2)
    assert second[1] == pytest.approx(3 * first[1], abs=0.5)


def test_ticks_are_round_and_inside():
    assert ticks(3, 70) == [5, 10, 20, 50]
    assert ticks(1, 1e6) == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


def test_stages_are_sums_over_workers_per_event():
    before = [{"stream_infer_events_total": 100.0}, {}]
    after = [
        {
            "stream_infer_events_total": 1_100.0,
            'stream_infer_stage_seconds_total{stage="decode"}': 0.002,
            "stream_infer_commits_total": 3.0,
        },
        {
            "stream_infer_events_total": 1_000.0,
            'stream_infer_stage_seconds_total{stage="decode"}': 0.004,
            "stream_infer_commits_total": 4.0,
        },
    ]
    found = stages_between(before, after)

    assert found.us_per_event["decode"] == pytest.approx(3.0)
    assert found.counts["transactions"] == 7
    assert stages_between([{}], [{}]).counts == {}
    assert (worked_on(before), worked_on(after), worked_on([{}])) == (100, 2_100, 0)


def test_between_two_readings_without_an_event_there_are_counts_of_nothing():
    reading = [{"stream_infer_events_total": 9.0, "stream_infer_commits_total": 2.0}]
    found = stages_between(reading, reading)

    assert found.counts == {"transactions": 0.0, "anomalies": 0.0, "states_written": 0.0}
    assert found.us_per_event == {}


def test_usage_counts_children_that_run_and_that_have_ended():
    spin = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    program = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {spin!r}]); print(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        used = usage(process.pid)
        process.kill()

    assert used.cpu_s >= 0.25
    assert used.peak_rss_bytes > 1_000_000
    with pytest.raises(ProcessLookupError):
        usage(process.pid)


def test_our_own_work_is_not_a_strangers():
    began, watch, until = time.monotonic(), Strangers(), time.process_time() + 1.0
    while time.process_time() < until:
        pass
    share = watch.share()
    took = time.monotonic() - began

    # Whatever else this machine does: our own share of it is not in it.
    assert share <= 1 - 1.0 / (took * os.cpu_count()) + 0.15
