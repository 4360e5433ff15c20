"""Window and judge against the same arithmetic in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.records import Scores, Text
from stream_infer.scorer import Scorer
from stream_infer.windows.layout import TOP, Layout
from stream_infer.windows.push_kernel import _asinh5
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, Outcome, Reference, columns_of, layout_of, profiles_of

NAMES = (b"known-a", b"known-b")
ENTITIES = [*NAMES, b"new-a", b"new-b"]
TTL_S = 100.0

values = st.one_of(
    st.floats(-20, 20, width=32),
    st.sampled_from([0.0, math.nan, 1e6, -1e6]),
)


@st.composite
def streams(draw):
    layout = layout_of(draw(st.integers(1, 4)), draw(st.integers(1, 11)), draw(st.integers(1, 3)))
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 1),
                st.sampled_from(ENTITIES),
                st.integers(-150, 150),
                st.lists(values, min_size=layout.features, max_size=layout.features),
            ),
            min_size=1,
            max_size=40,
        )
    )
    cuts = draw(st.lists(st.integers(1, len(rows)), max_size=4))
    return layout, rows, sorted({0, *cuts, len(rows)})


@settings(deadline=None, max_examples=150)
@given(streams())
def test_scores_equal_the_reference(stream) -> None:
    layout, rows, cuts = stream
    profiles = profiles_of(layout, NAMES)
    reference = Reference(layout, profiles, TTL_S)
    scorer = Scorer(Difference(layout.terms), profiles, layout, EntityTable(layout, profiles, TTL_S))
    time_ms = np.cumsum([step * 1000 for _, _, step, _ in rows]).tolist()
    for start, end in pairwise(cuts):
        part = rows[start:end]
        columns = columns_of(
            [r[1] for r in part], time_ms[start:end], np.array([r[3] for r in part], np.float64)
        )
        kept, scores, rejects = scorer.score(
            columns, np.array([r[0] for r in part], np.int32), np.arange(start, end, dtype=np.int64)
        )

        assert kept.tolist() == list(range(end - start))
        assert not any(len(reject) for reject in rejects)
        for i, (partition, name, _, x) in enumerate(part):
            outcome = reference.row(partition, name, time_ms[start + i], np.array(x, np.float64))
            _assert_equal(scores, i, outcome)
            alert = reference.alert(partition, name, scores.score[i])
            assert ("none", "begins", "continues", "ends")[scores.alert[i]] == alert


def _assert_equal(scores: Scores, i: int, outcome: Outcome) -> None:
    assert scores.score[i] == pytest.approx(outcome.score, rel=1e-4, abs=1e-6)
    assert scores.window_full[i] == outcome.window_full
    assert scores.time_order[i] == outcome.time_order
    if abs(outcome.score - scores.threshold[i]) < 1e-3:
        return
    assert scores.is_anomaly[i] == outcome.is_anomaly
    named = [f for f in scores.top[i].tolist() if f >= 0]
    assert len(named) == len(set(named)) == len(outcome.shares)
    expected = sorted(outcome.shares.values(), reverse=True)
    assert scores.share[i].tolist() == pytest.approx(
        expected + [0] * (TOP - len(expected)), rel=1e-3, abs=1e-6
    )


@settings(deadline=None)
@given(streams())
def test_windows_equal_the_reference(stream) -> None:
    layout, rows, _ = stream
    profiles = profiles_of(layout, NAMES)
    reference, table = Reference(layout, profiles), EntityTable(layout, profiles)
    features = np.array([r[3] for r in rows], np.float64)
    columns = columns_of([r[1] for r in rows], [0] * len(rows), features)
    partition = np.array([r[0] for r in rows], np.int32)
    pushed = table.push(
        table.locate(partition, columns.entity), features, columns.time_ms, partition, np.arange(len(rows))
    )

    expected = [reference.row(p, name, 0, features[i]).window for i, (p, name, _, _) in enumerate(rows)]
    np.testing.assert_allclose(pushed.windows, np.stack(expected), rtol=1e-6, atol=1e-6)


def test_an_entity_never_seen_is_judged_by_its_own_usual_errors_in_time() -> None:
    """Of two features one errs ten times as much as the fleet's, one not at all: it counts as the least of training."""
    layout = Layout(window=2, features=2, terms=1, smoothing=(1.0,), clip=(1000.0,))
    profiles = replace(
        profiles_of(layout, (b"a",)),
        error_sd=np.array([[[0.5, 0.5]], [[1.0, 1.0]]], np.float32),
        scale=np.ones((2, 1)),
    )
    table = EntityTable(layout, profiles)
    rows = 15_000
    errors = np.zeros((rows, 1, 2), np.float32)
    errors[:, 0, 0] = np.random.default_rng(0).normal(0, 10, rows)
    where, offset = np.zeros(rows, np.int32), np.arange(rows)
    slots = table.locate(where, Text.of([b"new"] * rows))
    pushed = table.push(slots, np.zeros((rows, 2)), offset, where, offset)

    judged = table.judge(slots, pushed.first, errors)

    assert judged.score[:10].mean() > 5
    assert judged.score[-5000:].mean() == pytest.approx(0.5, rel=0.1)
    errors[:, 0] = [0.0, 1.0]
    judged = table.judge(slots[:1], np.zeros(1, np.bool_), errors[:1])
    assert judged.score[0] == pytest.approx((1.0 / 0.5) ** 2 / 2, rel=1e-3)


@given(st.floats(-1e300, 1e300))
def test_asinh_of_the_kernels_is_asinh(y: float) -> None:
    assert _asinh5(y) == pytest.approx(5 * math.asinh(y), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("y", [math.inf, -math.inf])
def test_asinh_is_held_at_the_largest_sizes(y: float) -> None:
    assert _asinh5(y) == pytest.approx(math.copysign(5 * math.asinh(1e300), y))


def test_many_rows_of_one_unknown_entity_equal_the_reference() -> None:
    """Long enough for the slowest rate of the running statistics, far from zero, where float32 would not do."""
    layout = layout_of(3, 4)
    profiles = profiles_of(layout, ())
    reference, table = Reference(layout, profiles), EntityTable(layout, profiles)
    rng = np.random.default_rng(5)
    features = 1e7 + rng.normal(size=(12_000, 4)) * [1, 10, 100, 0]
    columns = columns_of([b"new"] * len(features), list(range(len(features))), features)
    partition = np.zeros(len(features), np.int32)
    pushed = table.push(
        table.locate(partition, columns.entity),
        features,
        columns.time_ms,
        partition,
        np.arange(len(features)),
    )
    for i, x in enumerate(features):
        outcome = reference.row(0, b"new", i, x)
        if i % 500 == 0 or i > 11_990:
            np.testing.assert_allclose(pushed.windows[i], outcome.window, rtol=1e-3, atol=1e-4)
