"""Whenever the table is lost, load and replay give the scores of the undisturbed run, to the last bit."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.unit.windows.reference import Difference, columns_of, layout_of, profiles_of

NAMES = (b"known-a", b"known-b")
ENTITIES = [*NAMES, b"new-a", b"new-b", b"new-c"]
PARTITIONS = 2
TTL_S = 100.0
LAYOUT = layout_of(window=4, features=3, terms=2)
PROFILES = profiles_of(LAYOUT, NAMES)

Row = tuple[bytes, int, list[float]]


class Fragile(Difference):
    """Gives no number for an entity whose first feature jumped up."""

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        errors = super().score(windows)
        errors[windows[:, -1, 0] - windows[:, -2, 0] > 6, 0, 1] = np.nan
        return errors


class Run:
    """A worker's life without Kafka: an input log and a state topic per partition, both outlive the table."""

    def __init__(self, rows: list[list[Row]]) -> None:
        self.rows = rows
        self.topic: dict[int, list[tuple[bytes, bytes | None]]] = defaultdict(list)
        self.marker = dict.fromkeys(range(PARTITIONS), 0)
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.position = dict.fromkeys(range(PARTITIONS), 0)
        self.seen: dict[tuple[int, int], set[object]] = defaultdict(set)
        self.crash()

    def work(self, partition: int, count: int, replaying: bool = False) -> None:
        start = self.position[partition]
        rows = self.rows[partition][start : start + count]
        if not rows:
            return
        columns = columns_of([r[0] for r in rows], [r[1] for r in rows], np.array([r[2] for r in rows]))
        offset = np.arange(start, start + len(rows), dtype=np.int64)
        where = np.full(len(rows), partition, np.int32)
        fresh = self.scorer.fresh(columns, where, offset)
        assert replaying or fresh.all()
        columns, where, offset = columns.take(fresh), where[fresh], offset[fresh]
        kept, scores, _ = self.scorer.score(columns, where, offset)
        for o in offset.tolist():
            self.seen[partition, o].add(None)
        for i, o in enumerate(offset[kept].tolist()):
            told = (scores.score[i], scores.is_anomaly[i], scores.window_full[i], scores.time_order[i])
            told = (*told, scores.alert[i])
            self.seen[partition, o].discard(None)
            self.seen[partition, o].add(
                (*map(float, told), *scores.top[i].tolist(), *scores.share[i].tolist())
            )
        self.position[partition] = start + len(rows)

    def commit(self, partition: int, limit: int, lag: int, sweep: int) -> None:
        position = self.position[partition]
        records = self.table.flush(partition, position, position - lag, limit)
        self.topic[partition] += records.pairs()
        if sweep and position:
            now_ms = self.rows[partition][position - 1][1]
            self.topic[partition] += [(key, None) for key in self.table.expire(partition, now_ms, sweep)]
        self.marker[partition] = self.table.replay_from(partition, position)
        self.committed[partition] = position
        self.table.commit()

    def crash(self) -> None:
        self.table = EntityTable(LAYOUT, PROFILES, TTL_S)
        self.scorer = Scorer(Fragile(LAYOUT.terms), PROFILES, LAYOUT, self.table)
        for partition in range(PARTITIONS):
            self.restore(partition, 3)

    def restore(self, partition: int, chunk: int) -> None:
        self.table.drop(partition)
        topic = self.topic[partition]
        for at in range(0, len(topic), chunk):
            keys, values = zip(*topic[at : at + chunk], strict=True)
            assert self.table.load(partition, keys, values) == 0
        self.position[partition] = self.marker[partition]
        while self.position[partition] < self.committed[partition]:
            rest = self.committed[partition] - self.position[partition]
            self.work(partition, min(chunk, rest), replaying=True)


values = st.one_of(st.floats(-20, 20, width=32), st.just(math.nan))


@st.composite
def inputs(draw, least_step_s: int):
    rows: list[list[Row]] = []
    for _ in range(PARTITIONS):
        drawn = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(ENTITIES),
                    st.one_of(st.integers(least_step_s, 5), st.integers(least_step_s, 120)),
                    st.lists(values, min_size=3, max_size=3),
                ),
                min_size=5,
                max_size=40,
            )
        )
        time_ms = np.cumsum([step * 1000 for _, step, _ in drawn]).tolist()
        rows.append([(name, at, x) for (name, _, x), at in zip(drawn, time_ms, strict=True)])
    return rows


partitions = st.integers(0, PARTITIONS - 1)
works = st.tuples(st.just("work"), partitions, st.integers(1, 12))
commits = st.tuples(st.just("commit"), partitions, st.integers(0, 4), st.integers(0, 8), st.integers(0, 8))
restores = st.tuples(st.just("restore"), partitions, st.integers(1, 9))
steps = st.lists(
    st.one_of(works, works, commits, commits, restores, st.just(("crash",))), min_size=4, max_size=40
)


def _live(rows: list[list[Row]], lived: list[tuple], sweep: bool) -> None:
    undisturbed, disturbed = Run(rows), Run(rows)
    for partition in range(PARTITIONS):
        undisturbed.work(partition, len(rows[partition]))
    for name, *arguments in lived:
        if name == "commit" and not sweep:
            arguments[-1] = 0
        getattr(disturbed, name)(*arguments)
    for partition in range(PARTITIONS):
        disturbed.work(partition, len(rows[partition]))

    assert disturbed.seen == undisturbed.seen


@settings(deadline=None, max_examples=150)
@given(inputs(least_step_s=-20), steps)
def test_scores_after_any_loss_equal_the_undisturbed_run(rows, lived) -> None:
    _live(rows, lived, sweep=False)


@settings(deadline=None, max_examples=150)
@given(inputs(least_step_s=0), steps)
def test_sweeping_idle_entities_changes_no_score_where_time_ascends(rows, lived) -> None:
    _live(rows, lived, sweep=True)
