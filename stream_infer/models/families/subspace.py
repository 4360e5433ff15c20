"""Window PCA: what the principal components of whole windows leave of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.families.part import Fitting, Part, Series
from stream_infer.models.families.sampling import spread_evenly, window_rows, windows_of
from stream_infer.models.families.usual import usual_errors
from stream_infer.models.graph import Graph
from stream_infer.models.manifest import Term

__all__ = ["Subspace", "fit_subspace"]

WINDOWS_MAX = 50_000
VARIANCE = 0.8
COMPONENTS_MAX = 256


@dataclass(frozen=True)
class Subspace:
    """Principal components of flattened windows: ``center`` (W * F), ``basis`` (W * F, K) orthonormal.

    Its errors are per feature the root of the mean square, over the window's rows, of what the components leave.
    """

    center: NDArray[np.float64]
    basis: NDArray[np.float64]
    features: int

    @property
    def term(self) -> Term:
        """Not smoothed: a window is smooth by itself."""
        return Term(name="subspace", smoothing=1.0, clip=1000.0)

    @property
    def rows(self) -> int:
        """Rows of a window."""
        return len(self.center) // self.features

    def node(self, graph: Graph) -> str:
        """Into the subspace and back, and what is lacking then."""
        centered = graph.apply("Sub", graph.flat(self.rows), graph.floats(self.center))
        inside = graph.apply("MatMul", centered, graph.floats(self.basis))
        rebuilt = graph.apply("MatMul", inside, graph.floats(self.basis.T))
        return graph.root_mean_square(graph.apply("Sub", centered, rebuilt), self.rows)

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> what is left (n, F)."""
        basis = self.basis.astype(np.float32)
        flat = windows.reshape(len(windows), len(self.center)) - self.center.astype(np.float32)
        left = (flat - (flat @ basis) @ basis.T).reshape(windows.shape)
        return np.asarray(np.sqrt((left * left).mean(axis=1)), np.float32)

    def usual(self, series: Series) -> NDArray[np.float64]:
        """Root mean square of each entity's errors, at least 0.5."""
        return usual_errors(self, series)


def fit_subspace(series: Series, fitting: Fitting) -> Part:
    """Principal components of windows of 20 rows that hold 80 % of their variance, one set for all entities.

    Uses at most 50,000 windows, evenly spread; fewer rows a window where rows are wide, at most 256 components.
    """
    features = series[0].shape[1]
    window = window_rows(features)
    width = window * features
    windows = min(sum(map(len, series)), WINDOWS_MAX)
    fit = _from_few_windows if width > min(windows, _COVARIANCE_MAX) else _from_covariance
    center, variance, vectors = fit(series, window)
    fitting.progress(1.0)
    share = np.cumsum(variance) / max(variance.sum(), np.finfo(np.float64).tiny)
    components = int(np.searchsorted(share, VARIANCE)) + 1
    return Subspace(center, vectors[:, : min(components, vectors.shape[1], COMPONENTS_MAX)], features)


_COVARIANCE_MAX = 1500
_FEW_WINDOWS = 1500
_Spectrum = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Mean (W * F), variances (K) falling, their directions (W * F, K)."""


def _from_covariance(series: Series, window: int) -> _Spectrum:
    width = window * series[0].shape[1]
    total, gram, used = np.zeros(width), np.zeros((width, width)), 0
    for rows, at in spread_evenly(series, first=0, limit=WINDOWS_MAX):
        flat = windows_of(rows, window, at).reshape(len(at), width).astype(np.float64)
        total += flat.sum(axis=0)
        gram += flat.T @ flat
        used += len(at)
    center = total / used
    variance, vectors = np.linalg.eigh(gram / used - np.outer(center, center))
    return center, np.maximum(variance[::-1], 0), vectors[:, ::-1]


def _from_few_windows(series: Series, window: int) -> _Spectrum:
    """For windows wider than there are directions to find: the same spectrum from products of windows."""
    width = window * series[0].shape[1]
    chosen = [
        windows_of(rows, window, at).reshape(len(at), width)
        for rows, at in spread_evenly(series, first=0, limit=_FEW_WINDOWS)
    ]
    flat = np.concatenate(chosen).astype(np.float64)
    center = flat.mean(axis=0)
    flat -= center
    variance, weights = np.linalg.eigh(flat @ flat.T)
    variance, weights = variance[::-1], weights[:, ::-1]
    real = variance > 1e-9 * max(variance[0], np.finfo(np.float64).tiny)
    variance, weights = variance[real][:COMPONENTS_MAX], weights[:, real][:, :COMPONENTS_MAX]
    # The variances left out count in the share that is explained, as a tail in one number.
    rest = max(float((flat**2).sum() - variance.sum()), 0.0)
    vectors = flat.T @ weights / np.sqrt(variance)
    return center, np.append(variance, rest) / len(flat), vectors
