"""What a Scorer asks of a model, whatever runtime is behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.windows.layout import Layout

__all__ = ["Model"]


class Model(Protocol):
    """Maps windows to errors. Pure: the same window gives the same errors, whatever stands beside it."""

    @property
    def name(self) -> str:
        """The artifact's name."""

    @property
    def version(self) -> str:
        """The artifact's version."""

    @property
    def layout(self) -> Layout:
        """Shapes and recursions of the windows this model takes."""

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardised windows (n, W, F), oldest row first -> one error per term and feature (n, T, F)."""
