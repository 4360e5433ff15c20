"""How fast, from where and how long: the small decisions of a shadow."""

from __future__ import annotations

import pytest

from stream_infer.config.shadow import Place, place
from stream_infer.shadow.member import gathering_settings
from stream_infer.shadow.rate import Rate
from stream_infer.shadow.start import Range
from stream_infer.shadow.waiting import Waiting


def test_a_rate_is_kept_over_time_and_bursts_are_short():
    rate, now, done = Rate(1000.0), 100.0, 0
    for _ in range(500):
        now += 0.01
        allowed = rate.allowed(now, 2000)
        rate.used(allowed)
        done += allowed

    assert done == pytest.approx(5000, abs=100)
    assert rate.allowed(now + 60.0, 2000) <= 100


def test_less_than_one_event_a_round_adds_up():
    rate, now = Rate(2.0), 0.0
    rate.allowed(now, 10)
    taken = 0
    for _ in range(40):
        now += 0.1
        allowed = rate.allowed(now, 10)
        rate.used(allowed)
        taken += allowed

    assert 6 <= taken <= 8
    assert 0 < rate.wait_s() <= 0.5


def test_no_rate_is_no_limit():
    assert Rate(None).allowed(0.0, 2000) == 2000


def test_stuck_is_what_waits_for_the_same_event_again():
    waiting = Waiting(0.1)  # half a second at least
    assert waiting.stuck(10.0, {0: 5, 1: 7}) == []
    assert not waiting.due(10.2)
    assert waiting.due(10.5)
    assert waiting.stuck(10.5, {0: 5, 1: 8}) == [0]
    assert waiting.stuck(11.0, {1: 8}) == [1]
    assert waiting.stuck(11.5, {0: 5, 1: 9}) == []


def test_what_is_gathered_for_long_is_waited_for_longer():
    waiting = Waiting(2.0)
    assert waiting.stuck(10.0, {0: 5}) == []
    assert not waiting.due(11.9)
    assert waiting.stuck(12.0, {0: 5}) == [0]


def test_who_gathers_fetches_seldom_and_no_longer_than_a_second():
    assert gathering_settings(0) == {}
    assert gathering_settings(200)["fetch.wait.max.ms"] == 200
    assert gathering_settings(60_000)["fetch.wait.max.ms"] == 1000
    assert gathering_settings(200)["fetch.min.bytes"] > 100_000


def test_a_range_counts_what_is_passed():
    span = Range({0: 10, 1: 0}, {0: 20, 1: 5})

    assert span.events == 15
    assert span.passed({0: 5, 1: 3}) == 3  # partition 0 is still warming up
    assert span.passed({0: 30, 1: 5, 2: 9}) == 15


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", Place("latest")),
        ("primary", Place("primary")),
        (42, Place("offset", 42)),
        ("42", Place("offset", 42)),
        ("2026-11-01T00:00Z", Place("time", 1_793_491_200_000)),
        ("2026-11-01", Place("time", 1_793_491_200_000)),
        ("2026-11-01T01:00+01:00", Place("time", 1_793_491_200_000)),
    ],
)
def test_places_are_words_offsets_and_times(text, expected):
    assert place(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "", -1, "1.5"])
def test_other_places_say_what_may_be_written(text):
    with pytest.raises(ValueError, match=r"must be latest|not negative"):
        place(text)
