"""Window autoencoder: what a small network, that has to pass a window through a narrow middle, does not give back.

The network is trained with torch; what comes of it are weights, so that neither the artifact nor a worker needs torch.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ConfigError
from stream_infer.models.families.network import Network
from stream_infer.models.families.part import Fitting, Part, Series
from stream_infer.models.families.sampling import spread_evenly, window_rows, windows_of
from stream_infer.models.families.usual import usual_errors
from stream_infer.models.graph import Graph
from stream_infer.models.manifest import Term

__all__ = ["Autoencoder", "fit_autoencoder", "has_torch"]

WINDOWS_MAX = 50_000
HELD_OUT = 0.1


@dataclass(frozen=True)
class Autoencoder:
    """What a network W * F -> hidden -> middle -> hidden -> W * F does not give back of a window.

    Its errors are per feature the root of the mean square, over the window's rows, of what does not come back.
    """

    network: Network
    features: int

    @property
    def term(self) -> Term:
        """Not smoothed: a window is smooth by itself."""
        return Term(name="autoencoder", smoothing=1.0, clip=1000.0)

    @property
    def rows(self) -> int:
        """Rows of a window."""
        return self.network.inputs // self.features

    def node(self, graph: Graph) -> str:
        """Through the network, and what is lacking then."""
        flat = graph.flat(self.rows)
        return graph.root_mean_square(graph.apply("Sub", flat, self.network.node(graph, flat)), self.rows)

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> what does not come back (n, F)."""
        flat = windows.reshape(len(windows), -1)
        left = (flat - self.network.outputs(flat)).reshape(windows.shape)
        return np.asarray(np.sqrt((left * left).mean(axis=1)), np.float32)

    def usual(self, series: Series) -> NDArray[np.float64]:
        """Root mean square of each entity's errors, at least 0.5."""
        return usual_errors(self, series)


def has_torch() -> bool:
    """Whether the extra ``torch`` is installed; asking does not load it."""
    return importlib.util.find_spec("torch") is not None


def fit_autoencoder(series: Series, fitting: Fitting) -> Part:
    """Train on at most 50,000 windows of 20 rows, evenly spread; the last tenth of each entity's say when to stop.

    Raises ConfigError where torch is not installed, or has no such device.
    """
    if not has_torch():
        raise ConfigError(
            "--family autoencoder trains with torch, which is not installed; run: pip install 'stream-infer[torch]', "
            "or take --family pca. A model once trained does not need it"
        )
    from stream_infer.models.families.autoencoder_training import train_autoencoder  # noqa: PLC0415 (slow)

    features = series[0].shape[1]
    window = window_rows(features)
    learnt, held_out = _windows(series, window)
    return Autoencoder(train_autoencoder(learnt, held_out, fitting), features)


def _windows(series: Series, window: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flat windows (n, W * F) to learn from, and those of the last tenth of each entity's rows."""
    cuts = [max(1, round(len(rows) * (1 - HELD_OUT))) for rows in series]
    early = [rows[:cut] for rows, cut in zip(series, cuts, strict=True)]
    late = [rows[max(cut - window + 1, 0) :] for rows, cut in zip(series, cuts, strict=True)]
    parts = [
        np.concatenate([windows_of(rows, window, at) for rows, at in spread_evenly(some, first, int(limit))])
        for some, first, limit in (
            (early, 0, WINDOWS_MAX * (1 - HELD_OUT)),
            (late, window - 1, WINDOWS_MAX * HELD_OUT),
        )
    ]
    learnt, held_out = (part.reshape(len(part), -1) for part in parts)
    return learnt, held_out
