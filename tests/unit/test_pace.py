"""When to commit, and which state is due."""

from stream_infer.pace import CommitPace, FlushPace

PACE = CommitPace(interval_s=0.1, rest_s=0.005, grouped_events=200, max_events=1000)


def test_a_pause_of_the_input_commits_a_small_delivery_at_once() -> None:
    assert PACE.due(now=10.0, opened_at=10.0, events=1, full=False)


def test_full_batches_are_grouped_until_the_interval() -> None:
    assert not PACE.due(now=10.05, opened_at=10.0, events=500, full=True)
    assert PACE.due(now=10.11, opened_at=10.0, events=500, full=True)


def test_under_load_a_short_pause_does_not_cut() -> None:
    assert not PACE.due(now=10.05, opened_at=10.0, events=200, full=False)
    assert PACE.due(now=10.11, opened_at=10.0, events=200, full=False)


def test_a_large_delivery_is_cut_by_its_events() -> None:
    assert PACE.due(now=10.0, opened_at=10.0, events=1000, full=True)


def test_a_rest_follows_a_small_delivery_alone() -> None:
    assert PACE.rest_left_s(now=10.001, committed_at=10.0, events=1) == 10.005 - 10.001
    assert PACE.rest_left_s(now=10.006, committed_at=10.0, events=1) == 0.0
    assert PACE.rest_left_s(now=10.001, committed_at=10.0, events=200) == 0.0


def test_nothing_but_time_or_size_cuts_what_is_gathered() -> None:
    gathering = CommitPace(interval_s=1.0, rest_s=0.0, grouped_events=0, max_events=1000)
    assert not gathering.due(now=10.9, opened_at=10.0, events=1, full=False)
    assert gathering.due(now=11.0, opened_at=10.0, events=1, full=False)
    assert gathering.due(now=10.0, opened_at=10.0, events=1000, full=True)
    assert gathering.rest_left_s(now=10.0, committed_at=10.0, events=1) == 0.0


def test_a_poll_waits_until_the_delivery_is_due() -> None:
    assert PACE.wait_s(now=10.04, opened_at=10.0) == 10.1 - 10.04
    assert PACE.wait_s(now=11.0, opened_at=10.0) == 0.0


def test_changes_are_due_one_interval_after_they_were_made() -> None:
    pace = FlushPace(interval_s=10)
    for second in range(25):
        pace.note(second, 0, second * 100)

    assert pace.due_before(now=9.9, partition=0, position=900, replay_rows=10**6) == 0
    assert pace.due_before(now=24, partition=0, position=2400, replay_rows=10**6) == 1400


def test_a_replay_that_would_take_too_long_makes_changes_due_early() -> None:
    pace = FlushPace(interval_s=1000)
    pace.note(0, 0, 0)

    assert pace.due_before(now=1, partition=0, position=5000, replay_rows=2000) == 3000


def test_partitions_are_paced_apart_and_forgotten() -> None:
    pace = FlushPace(interval_s=1)
    pace.note(0, 0, 500)
    pace.note(0, 1, 700)

    assert pace.due_before(now=2, partition=1, position=900, replay_rows=10**6) == 700
    pace.forget(1)
    assert pace.due_before(now=2, partition=1, position=900, replay_rows=10**6) == 0
    assert pace.due_before(now=2, partition=0, position=900, replay_rows=10**6) == 500
