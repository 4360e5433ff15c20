"""What a family is made of: parts, each one term of the score, fitted to standardised rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.graph import Graph
from stream_infer.models.manifest import Term
from stream_infer.models.progress import Report, silent

__all__ = ["Fit", "Fitting", "Part", "Series"]

Series = Sequence[NDArray[np.float32]]
"""Standardised training rows (n, F) of each entity, in time order, no value missing."""


@dataclass(frozen=True)
class Fitting:
    """How to fit: ``seed`` of whatever is drawn, ``device`` of networks, ``progress`` told the share done, 0 to 1."""

    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    progress: Report = silent


class Part(Protocol):
    """One fitted term: maps windows to one error per feature, in numpy for the tests and as an ONNX graph for use."""

    @property
    def term(self) -> Term:
        """Name, smoothing and clip, for the manifest."""

    @property
    def rows(self) -> int:
        """How many of a window's newest rows it looks at."""

    def node(self, graph: Graph) -> str:
        """Add itself to the graph: a tensor (n, 1, F)."""

    def errors(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, rows, F), oldest row first -> errors (n, F): the same as the graph's, in numpy."""

    def usual(self, series: Series) -> NDArray[np.float64]:
        """What a usual error is, per entity and feature (E, F), above 0: errors are divided by it."""


Fit = Callable[[Series, Fitting], Part]
"""Makes a part from training rows."""
