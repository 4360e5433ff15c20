"""Scorer: window, score, judge. The worker, offline scoring and training all go through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import FeatureError, ModelError, ScoreError, WorkerError
from stream_infer.kernel import given
from stream_infer.records import Columns, Fault, Rejects, Scores
from stream_infer.stopwatch import Stopwatch
from stream_infer.windows.judge_kernel import Judged
from stream_infer.windows.layout import NONE, Layout
from stream_infer.windows.profiles import Profiles
from stream_infer.windows.push_kernel import MISSING, Pushed, unfit_feature
from stream_infer.windows.recent import Recent
from stream_infer.windows.table import EntityTable

__all__ = ["Model", "Scorer", "scores_of"]

_REASON_LENGTH = 300


class Model(Protocol):
    """Maps windows to errors."""

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F), oldest row first -> one error per term and feature (n, T, F)."""


class Scorer:
    """Takes decoded rows through window, score and judge, with the state in ``table``.

    ``model`` maps windows to errors; ``profiles`` and ``layout`` are the model's, and the table's.
    """

    def __init__(self, model: Model, profiles: Profiles, layout: Layout, table: EntityTable) -> None:
        self.model = model
        self.profiles = profiles
        self.layout = layout
        self.table = table
        self.took_s: dict[str, float] = {}
        self.recent = Recent()

    def warm_up(self) -> None:
        """Make the compiled parts ready, so that the first batch does not wait. The model has a warm-up of its own."""
        self.table.warm_up()
        nothing = np.empty(0, np.int64)
        unfit_feature(given(np.empty((0, 1)), np.float64), True, nothing, np.empty(0, np.uint8))  # noqa: FBT003

    def score(
        self, columns: Columns, partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Scores, list[Rejects]]:
        """Score m rows, in order; offsets ascend per partition.

        Returns which of the rows have scores (ascending indices into the columns), their scores, and the rejects of
        the stages window and score. Raises ModelError when the model itself is broken; the state has the rows in it
        then and must be dropped.
        """
        fit, unfit = self._fit(columns)
        if len(fit) < len(columns):
            columns, partition, offset = columns.take(fit), partition[fit], offset[fit]
        watch = Stopwatch()
        slots = self.table.locate(partition, columns.entity)
        pushed = self.table.push(slots, columns.features, columns.time_ms, partition, offset)
        watch.lap("window")
        errors, failures = self._errors(pushed.windows)
        self.recent.add(pushed.windows, self.table.profile_of(slots))
        watch.lap("score")
        judged = self.table.judge(slots, pushed.first, errors)
        watch.lap("judge")
        self.took_s = watch.took_s
        scores = scores_of(pushed, judged)
        if judged.finite.all():
            return fit, scores, [unfit, Rejects.of(())]
        good = np.flatnonzero(judged.finite)
        return fit[good], scores.take(good), [unfit, _unscored(columns, judged.finite, failures)]

    def fresh(
        self, columns: Columns, partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which rows are not in the state yet. A replay must leave the others out; outside of one all are fresh."""
        return self.table.fresh(self.table.find(partition, columns.entity), offset)

    def _fit(self, columns: Columns) -> tuple[NDArray[np.int64], Rejects]:
        """The rows whose features the model takes, and the rejects of the others."""
        column = np.empty(len(columns), np.int64)
        kind = np.empty(len(columns), np.uint8)
        features, impute = given(columns.features, np.float64), self.layout.missing == "impute"
        if not unfit_feature(features, impute, column, kind):
            return np.arange(len(columns)), Rejects.of(())
        unfit = np.flatnonzero(column != NONE)
        codes = column[unfit] * 2 + (kind[unfit] == MISSING)
        return np.flatnonzero(column == NONE), Rejects.coded(columns.rows[unfit], codes, _unfit)

    def _errors(self, windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[int, _Failure]]:
        """Errors of all rows, NaN for those on which the model fails, and how it fails on each of them.

        A failing batch is halved until only rows are left that fail alone. When every row fails, so that nothing
        speaks for the model, it is asked about a window of zeros, an entity exactly at its centre: failing that too,
        it is the model that is broken, not the records.
        """
        wanted = (len(windows), self.layout.terms, self.layout.features)
        if not len(windows):
            return np.empty(wanted, np.float32), {}
        whole = self._ask(windows)
        if not isinstance(whole, _Failure):
            return whole, {}
        errors = np.full(wanted, np.nan, np.float32)
        failures: dict[int, _Failure] = {}
        for start, answer in self._halves(windows, 0, whole):
            if isinstance(answer, _Failure):
                failures[start] = answer
            else:
                errors[start : start + len(answer)] = answer
        if len(failures) == len(windows):
            probe = self._ask(np.zeros_like(windows[:1]))
            if isinstance(probe, _Failure):
                raise ModelError(f"the model fails on every window, even on one of zeros: {probe.reason}")
        return errors, failures

    def _halves(
        self, windows: NDArray[np.float32], start: int, failure: _Failure
    ) -> Iterator[tuple[int, NDArray[np.float32] | _Failure]]:
        """Answers for the parts of a batch that failed as a whole, each with its first row."""
        if len(windows) == 1:
            yield start, failure
            return
        middle = len(windows) // 2
        for part, at in ((windows[:middle], start), (windows[middle:], start + middle)):
            answer = self._ask(part)
            if isinstance(answer, _Failure):
                yield from self._halves(part, at, answer)
            else:
                yield at, answer

    def _ask(self, windows: NDArray[np.float32]) -> NDArray[np.float32] | _Failure:
        """The model's errors for these windows, or how it failed."""
        try:
            errors = self.model.score(windows)
        except WorkerError:
            raise
        except MemoryError as error:  # no record is to blame
            raise ModelError(
                f"the model wants more memory than there is, for {len(windows):,} windows: {error}. Nothing of this "
                "batch is committed. Cure: give the process more memory, or lower batch.max_events"
            ) from error
        except Exception as error:  # noqa: BLE001  a model may raise anything
            return _Failure("model_raised", f"{type(error).__name__}: {error}"[:_REASON_LENGTH])
        wanted = (len(windows), self.layout.terms, self.layout.features)
        shape, dtype = np.shape(errors), getattr(errors, "dtype", type(errors).__name__)
        if shape != wanted or dtype != np.float32:
            return _Failure("model_shape", f"the model gave {dtype} {shape}, wanted float32 {wanted}")
        return errors


class _Failure:
    """How the model failed on some windows."""

    __slots__ = ("error", "reason")

    def __init__(self, error: str, reason: str) -> None:
        self.error = error
        self.reason = reason


_NOT_FINITE = _Failure("score_not_finite", "the model's errors, or the score made of them, are not finite")


def scores_of(pushed: Pushed, judged: Judged) -> Scores:
    """What window and judge said of the same rows."""
    return Scores(
        judged.score,
        judged.threshold,
        judged.is_anomaly,
        judged.top,
        judged.share,
        pushed.window_full,
        pushed.time_order,
        judged.alert,
    )


def _unscored(columns: Columns, finite: NDArray[np.bool_], failures: dict[int, _Failure]) -> Rejects:
    def fault(i: int) -> Fault:
        failure = failures.get(i, _NOT_FINITE)
        return Fault(ScoreError.stage, failure.error, failure.reason)

    bad = np.flatnonzero(~finite).tolist()
    return Rejects.of((int(columns.rows[i]), fault(i)) for i in bad)


def _unfit(code: int) -> Fault:
    """What is wrong with a row by the number of its first unfit feature, twice, plus one where that is missing."""
    column, missing = divmod(code, 2)
    reason = "is missing, and the model does not impute" if missing else "is infinite"
    return Fault(
        FeatureError.stage,
        "feature_missing" if missing else "feature_infinite",
        f"feature number {column} (counted from 0) {reason}",
    )
