"""What training learned of each entity, and of the fleet for entities it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError

__all__ = ["Known", "Profiles"]

_SMALLEST, _LARGEST = 1e-300, 1e38  # so that 1 / spread is finite, and a fleet's centre is one as float32


class Known(NamedTuple):
    """Profiles as the kernels want them: divisions done, one row per entity, the fleet last."""

    center: NDArray[np.float64]
    """(E+1, F)"""
    spread: NDArray[np.float64]
    """(E+1, F)"""
    inverse: NDArray[np.float64]
    """(E+1, F): 1 / (5 spread)"""
    inverse_sd: NDArray[np.float64]
    """(E+1, T, F): 1 / error_sd"""
    weight: NDArray[np.float64]
    """(E+1, T): 1 / (F scale), what one unit of smoothed error adds to the score"""
    threshold: NDArray[np.float64]
    """(E+1)"""
    least_sd: NDArray[np.float64]
    """(T): the least error_sd of any entity and feature; what an entity learns by itself counts as no less"""


@dataclass(frozen=True)
class Profiles:
    """Calibration per entity; row E, the last, is the fleet's and serves entities training never saw.

    ``names`` the E entities. ``center``, ``spread`` (E+1, F) float64: z = 5 asinh((x - center) / (5 spread)).
    ``error_sd`` (E+1, T, F) float32: what a usual error of the model is. ``scale`` (E+1, T): what a usual smoothed
    error is. ``threshold`` (E+1): the score from which a row is an anomaly. Raises ModelError where shapes or values
    cannot be.
    """

    names: tuple[bytes, ...]
    center: NDArray[np.float64]
    spread: NDArray[np.float64]
    error_sd: NDArray[np.float32]
    scale: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def __post_init__(self) -> None:
        rows, terms, width = self.error_sd.shape
        shapes = {
            "center": (self.center, (rows, width)),
            "spread": (self.spread, (rows, width)),
            "scale": (self.scale, (rows, terms)),
            "threshold": (self.threshold, (rows,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ModelError(
                    f"profile array {name} is {array.shape}, wanted {shape}; train the model again"
                )
        if rows != len(self.names) + 1 or len(set(self.names)) != len(self.names):
            raise ModelError(f"{rows} profiles do not fit {len(self.names)} names and the fleet")
        for name in ("error_sd", "scale"):
            if not (getattr(self, name) > 0).all():
                raise ModelError(f"profile array {name} holds values that are not above 0")
        if not (np.abs(self.center) <= _LARGEST).all() or np.isnan(self.threshold).any():
            raise ModelError("profile arrays center and threshold must hold numbers, center none beyond 1e38")
        if not ((self.spread >= _SMALLEST) & (self.spread <= _LARGEST)).all():
            raise ModelError("profile array spread must lie between 1e-300 and 1e38")

    @property
    def fleet(self) -> int:
        """The profile of entities that training never saw."""
        return len(self.names)

    @cached_property
    def known(self) -> Known:
        """The same numbers in the form the kernels want."""
        spread = np.require(self.spread, np.float64, ("C", "W"))
        return Known(
            center=np.require(self.center, np.float64, ("C", "W")),
            spread=spread,
            inverse=1 / (5 * spread),
            inverse_sd=1 / self.error_sd.astype(np.float64),
            weight=1 / (self.center.shape[1] * np.asarray(self.scale, np.float64)),
            threshold=np.require(self.threshold, np.float64, ("C", "W")),
            least_sd=self.error_sd.min(axis=(0, 2)).astype(np.float64),
        )
