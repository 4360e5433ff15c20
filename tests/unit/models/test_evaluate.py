"""Figures of quality, on scores small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.errors import ConfigError
from stream_infer.models.evaluate import Cause, ScoredRows, evaluate, read_causes

DAY_MS = 86_400_000


def scored(**changes: object) -> ScoredRows:
    """Two entities of six rows over a day; the second has no event."""
    values: dict[str, object] = {
        "entities": ("a", "b"),
        "features": ("f", "g", "h"),
        "entity": np.repeat(np.array([0, 1], np.int32), 6),
        "seq": np.tile(np.arange(10, 16), 2),
        "time_ms": np.tile(np.linspace(0, DAY_MS, 6).astype(np.int64), 2),
        "label": np.array([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], np.int8),
        "score": np.array([1, 1, 9, 1, 5, 1, 1, 7, 7, 1, 7, 1], float),
        "is_anomaly": np.array([0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0], bool),
        "alert": np.array([0, 0, 1, 3, 1, 2, 0, 1, 2, 3, 1, 2], np.uint8),
        "top": np.array([[0, 1, 2]] * 12, np.int32),
    }
    return ScoredRows(**(values | changes))  # type: ignore[arg-type]


def test_events_are_found_by_anomalies_and_false_alarms_are_alerts() -> None:
    quality = evaluate(scored())

    first, second = quality.per_entity
    # The second event is in an alert, but no anomaly falls into it.
    assert (first.events, first.events_found, first.alerts, first.false_alarms, first.days) == (
        2,
        1,
        2,
        0,
        1.0,
    )
    assert (second.events, second.alerts, second.false_alarms, second.vus_pr) == (0, 2, 2, None)
    assert (quality.events, quality.events_found, quality.false_alarms_per_entity_day) == (2, 1, 1.0)
    assert quality.delay_s == first.delays_s[0] == DAY_MS / 5 / 1000
    assert quality.vus_pr == first.vus_pr
    assert quality.auc_pr == first.auc_pr == pytest.approx((1 + 2 * 3 / 6) / 3)


def test_an_alert_that_began_before_the_labelled_rows_counts_once() -> None:
    alert = np.array([2, 3, 0, 0, 1, 3, 2, 2, 2, 2, 2, 2], np.uint8)

    first, second = evaluate(scored(alert=alert)).per_entity

    assert (first.alerts, first.false_alarms, second.alerts, second.false_alarms) == (2, 0, 1, 1)


def test_unlabelled_and_rejected_rows_are_left_out() -> None:
    label, score = scored().label.copy(), scored().score.copy()
    label[6:] = -1
    score[3] = np.nan

    quality = evaluate(scored(label=label, score=score))

    assert (quality.entities, quality.rows, quality.rejected) == (1, 5, 1)


def test_root_causes_are_read_at_the_peak() -> None:
    top = scored().top.copy()
    top[2] = [2, 1, -1]  # the peak of the event at seq 11..12
    causes = [
        Cause("a", 11, 13, ("h", "f")),  # one of two named
        Cause("a", 15, 16, ("f", "g", "h", "i")),  # three of min(3, 4)
        Cause("a", 90, 99, ("f",)),  # no such rows
        Cause("z", 11, 13, ("f",)),
    ]

    quality = evaluate(scored(top=top), causes)

    assert (quality.root_cause_share, quality.root_cause_events) == (4 / 5, 2)


def test_no_labels_are_an_error() -> None:
    with pytest.raises(ConfigError, match="no row of these scores has a label"):
        evaluate(scored(label=np.full(12, -1, np.int8)))


def test_causes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "causes.csv"
    path.write_text("entity_id,seq_start,seq_end,note,features\na,3,5,x,f g\n")

    assert read_causes(path) == [Cause("a", 3, 5, ("f", "g"))]


@pytest.mark.parametrize("line", ["a,three,5,f", "a,3"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "causes.csv"
    path.write_text(f"entity_id,seq_start,seq_end,features\n{line}\n")

    with pytest.raises(ConfigError, match="line 2"):
        read_causes(path)
