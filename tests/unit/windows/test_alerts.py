"""One alert per anomaly: its kernel against the words of its definition, and its state across restores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.windows.alert_kernel import BEGINS, CONTINUES, ENDS, NO_ALERT, alert_rows
from stream_infer.windows.layout import Layout

RATIO = 0.5

scores = st.lists(st.sampled_from([0.0, 0.4, 0.5, 0.7, 1.0, 3.0, np.nan]), max_size=60)


def alerts(score: list[float], release_rows: int) -> list[int]:
    """Alerts of one entity whose threshold is 1."""
    count = len(score)
    alert = np.full(count, 99, np.uint8)
    wanted = np.zeros(1, np.int32)
    alert_rows(np.zeros(count, np.int32), np.array(score), np.ones(count), RATIO, release_rows, wanted, alert)
    return alert.tolist()


def test_a_long_anomaly_with_a_dip_is_one_alert() -> None:
    score = [0.1, 2.0, 0.1, 0.7, 1.0, 0.1, 0.1, 0.1, 2.0, 0.1]

    assert alerts(score, 3) == [NO_ALERT, BEGINS, *[CONTINUES] * 5, ENDS, BEGINS, CONTINUES]
    assert alerts(score, 1) == [
        NO_ALERT, BEGINS, ENDS, NO_ALERT, BEGINS, ENDS, NO_ALERT, NO_ALERT, BEGINS, ENDS,
    ]  # fmt: skip


@settings(deadline=None)
@given(scores, st.integers(1, 5))
def test_alerts_are_what_their_definition_says(score: list[float], release_rows: int) -> None:
    """Said of whole alerts, not of steps: where they start, where they stop, and what is between."""
    alert = alerts(score, release_rows)
    scored = [(s, a) for s, a in zip(score, alert, strict=True) if not np.isnan(s)]
    assert all(a == NO_ALERT for s, a in zip(score, alert, strict=True) if np.isnan(s))
    is_open = False
    since_calm = 0
    for s, a in scored:
        assert (a in (CONTINUES, ENDS)) == is_open
        assert (a == BEGINS) == (not is_open and s >= 1)
        since_calm = since_calm + 1 if s < RATIO and is_open else 0
        assert (a == ENDS) == (is_open and since_calm == release_rows)
        is_open = a in (BEGINS, CONTINUES)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.7, 2.0])), max_size=40), st.integers(0, 40)
)
def test_entities_and_cuts_do_not_matter(rows: list[tuple[int, float]], cut: int) -> None:
    entity = np.array([e for e, _ in rows], np.int32)
    score = np.array([s for _, s in rows])
    alert, wanted = np.empty(len(rows), np.uint8), np.zeros(3, np.int32)
    for part in (slice(None, cut), slice(cut, None)):
        alert_rows(entity[part], score[part], np.ones(len(score[part])), RATIO, 2, wanted, alert[part])

    for e in range(3):
        assert alert[entity == e].tolist() == alerts(score[entity == e].tolist(), 2)


@pytest.mark.parametrize(("ratio", "rows"), [(0.0, 5), (1.1, 5), (0.5, 0)])
def test_a_layout_that_cannot_end_an_alert_is_refused(ratio: float, rows: int) -> None:
    with pytest.raises(ModelError, match="release_ratio"):
        Layout(2, 1, 1, (0.1,), (9.0,), "impute", ratio, rows)
