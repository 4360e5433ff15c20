"""Failpoints: their grammar, and what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.failpoints import FailpointError, parse


def test_an_entry_names_point_action_and_when() -> None:
    first, second, third = parse("commit.before=kill@3,decode.after=sleep(0.5),poll.before=note")

    assert (first.point, first.action, first.at) == ("commit.before", "kill", 3)
    assert (second.at, second.sleep_s) == (1, 0.5)
    assert third.action == "note"
    assert parse("") == []


@pytest.mark.parametrize(
    "text", ["commit=kill", "commit.before", "commit.before=die", "commit.before=sleep()"]
)
def test_what_is_not_an_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not POINT=ACTION"):
        parse(text)


def test_an_action_may_be_done_each_time(tmp_path: Path) -> None:
    (point,) = parse("score.after=note@2+", tmp_path / "log")
    for _ in range(4):
        point.act()

    assert (tmp_path / "log").read_text() == "score.after\n" * 3


def test_an_unknown_point_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"no failpoint is named coffee.before; there are poll.before, poll.after"
    ):
        parse("coffee.before=kill")


def test_an_action_is_done_once_at_its_time_and_told_before(tmp_path: Path) -> None:
    (point,) = parse("score.after=raise@2", tmp_path / "log")
    point.act()
    assert not (tmp_path / "log").exists()
    with pytest.raises(FailpointError, match=r"score\.after"):
        point.act()
    point.act()

    assert (tmp_path / "log").read_text() == "score.after\n"
    assert point.reached_count == 3
