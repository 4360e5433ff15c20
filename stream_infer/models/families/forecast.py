"""Forecasts: a row from rows before it, by ridge regression; the term is what came otherwise than forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.families.part import Fitting, Part, Series
from stream_infer.models.families.ridge import fit_own_ridge, fit_ridge
from stream_infer.models.families.sampling import windows_of
from stream_infer.models.graph import Graph
from stream_infer.models.manifest import Term

__all__ = ["Forecast", "OwnForecast", "fit_forecast", "fit_outlook"]

WIDTH_MAX = 4000
"""Inputs of one regression: its matrix has the square of it."""

LAGS = 4
OUTLOOK_GAP = 5


@dataclass(frozen=True)
class Forecast:
    """The newest row from ``lags`` rows, of which the newest lies ``gap + 1`` rows back: flat(rows) @ weights + bias.

    Oldest row first. ``weights`` is (lags * F, F), ``bias`` (F). ``usual_min`` is the least usual error: a feature that
    was still while training may move that much.
    """

    term: Term
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    gap: int
    usual_min: float

    @property
    def lags(self) -> int:
        """Rows the forecast looks at."""
        return len(self.weights) // len(self.bias)

    @property
    def rows(self) -> int:
        """Newest rows of a window, the forecast row included."""
        return self.lags + self.gap + 1

    def node(self, graph: Graph) -> str:
        """Row - forecast as ONE product over the flat window: the newest row's weights are the identity.

        More multiplications than the forecast alone, but no copy of parts of the windows, and one operator in the
        place of five.
        """
        features = len(self.bias)
        unseen = np.zeros((self.gap * features, features))
        weights = np.concatenate([-self.weights, unseen, np.eye(features)])
        error = graph.apply("Gemm", graph.flat(self.rows), graph.floats(weights), graph.floats(-self.bias))
        return graph.reshape(error, -1, 1, features)

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, rows, F) -> what came otherwise than forecast (n, F)."""
        before = windows[:, : self.lags].reshape(len(windows), len(self.weights)).astype(np.float64)
        return np.asarray(windows[:, -1] - before @ self.weights - self.bias, np.float32)

    def usual(self, series: Series) -> NDArray[np.float64]:
        """Standard deviation of the errors on each entity's rows that have enough before them."""
        features = len(self.bias)
        usual = np.empty((len(series), features))
        for index, rows in enumerate(series):
            count = max(len(rows) - self.rows + 1, 0)
            errors = rows[len(rows) - count :].astype(np.float64) - self.bias
            for lag in range(self.lags):
                weights = self.weights[lag * features : (lag + 1) * features]
                errors -= rows[lag : lag + count] @ weights
            usual[index] = errors.std(axis=0) if count else 0
        return np.maximum(usual, self.usual_min)


@dataclass(frozen=True)
class OwnForecast:
    """Each feature of the newest row from its own values in the rows before: ``weights`` (lags, F), ``bias`` (F).

    For rows so wide that a regression on all features of them would not fit into memory.
    """

    term: Term
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    gap: int
    usual_min: float

    @property
    def rows(self) -> int:
        """Newest rows of a window, the forecast row included."""
        return len(self.weights) + self.gap + 1

    def node(self, graph: Graph) -> str:
        """Multiply each row by its weights, add up, take the bias off."""
        weighted = graph.apply("Mul", graph.newest(self.rows), graph.floats(self._row_weights()[None]))
        total = graph.apply("ReduceSum", weighted, graph.ints(1), keepdims=1)
        return graph.apply("Sub", total, graph.floats(self.bias))

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, rows, F) -> what came otherwise than forecast (n, F)."""
        return np.asarray((windows * self._row_weights()).sum(axis=1) - self.bias, np.float32)

    def usual(self, series: Series) -> NDArray[np.float64]:
        """Standard deviation of the errors on some of each entity's rows."""
        usual = np.empty((len(series), len(self.bias)))
        for index, rows in enumerate(series):
            at = np.unique(np.linspace(min(self.rows, len(rows)) - 1, len(rows) - 1, 1000).astype(np.int64))
            usual[index] = self.errors(windows_of(rows, self.rows, at)).std(axis=0)
        return np.maximum(usual, self.usual_min)

    def _row_weights(self) -> NDArray[np.float64]:
        """What each row of the window counts (rows, F)."""
        unseen = np.zeros((self.gap, len(self.bias)))
        return np.concatenate([-self.weights, unseen, np.ones((1, len(self.bias)))])


def fit_forecast(series: Series, fitting: Fitting) -> Part:
    """Fit the forecast of a row from the four before it."""
    term = Term(name="forecast", smoothing=0.07, clip=1000.0)
    part = _fit(series, term, gap=0, usual_min=0.3)
    fitting.progress(1.0)
    return part


def fit_outlook(series: Series, fitting: Fitting) -> Part:
    """Fit the forecast of a row from the sixth to the ninth before it: a shift surprises it for longer."""
    term = Term(name="outlook", smoothing=0.07, clip=1000.0)
    part = _fit(series, term, gap=OUTLOOK_GAP, usual_min=0.5)
    fitting.progress(1.0)
    return part


def _fit(series: Series, term: Term, gap: int, usual_min: float, lags: int = LAGS) -> Part:
    features = series[0].shape[1]
    if features > WIDTH_MAX:
        return OwnForecast(term, *fit_own_ridge(series, lags, gap), gap, usual_min)
    lags = max(1, min(lags, WIDTH_MAX // features))
    return Forecast(term, *fit_ridge(series, lags, gap), gap, usual_min)
