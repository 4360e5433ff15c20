"""Families: what training can make. Each is a list of parts, one term of the score each; one file per part.

    forecast      the next row from the four before it, and from the sixth to the ninth before it
    pca           what the principal components of the last 20 rows leave of them
    autoencoder   what a small network does not give back of the last 20 rows (trained with torch)
    ensemble      forecast and pca together

All share standardisation, calibration, smoothing, alerts and the artifact, and all name the features at fault.
"""

from __future__ import annotations

from stream_infer.models.families.autoencoder import fit_autoencoder, has_torch
from stream_infer.models.families.forecast import fit_forecast, fit_outlook
from stream_infer.models.families.part import Fit, Fitting, Part, Series
from stream_infer.models.families.subspace import fit_subspace

__all__ = ["AUTO", "FAMILIES", "Fitting", "Part", "Series", "available", "fit_family"]

AUTO = "auto"

FAMILIES: dict[str, tuple[Fit, ...]] = {
    "forecast": (fit_forecast, fit_outlook),
    "pca": (fit_subspace,),
    "autoencoder": (fit_autoencoder,),
    "ensemble": (fit_forecast, fit_outlook, fit_subspace),
}
"""Name -> how its parts are fitted, the cheapest family first."""


def available() -> tuple[str, ...]:
    """Names of the families that can be trained here."""
    return tuple(name for name in FAMILIES if name != "autoencoder" or has_torch())


def fit_family(name: str, series: Series, fitting: Fitting) -> tuple[Part, ...]:
    """Fit every part of a family, one after the other."""
    fits = FAMILIES[name]
    parts = []
    for number, fit in enumerate(fits):

        def report(done: float, number: int = number) -> None:
            fitting.progress((number + done) / len(fits))

        parts.append(fit(series, Fitting(fitting.seed, fitting.device, report)))
    return tuple(parts)
