"""Alerts: from the rows of an entity that are anomalies to one alert per anomaly, with hysteresis.

An alert begins with a row at or over the threshold. It ends with the last of ``release_rows`` rows in succession that
are under ``release_ratio`` times the threshold; a row that is not, anomaly or not, has them counted anew. All that is
kept of an entity is how many such rows are still wanted, 0 without an alert.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import kernel, kernel_part

__all__ = ["BEGINS", "CONTINUES", "ENDS", "NO_ALERT", "alert_rows", "alert_step"]

NO_ALERT, BEGINS, CONTINUES, ENDS = range(4)
"""Where a row stands to an alert. The last row of an alert says ENDS, even where it is calm itself."""


@kernel_part
def alert_step(
    wanted: int, score: float, threshold: float, release_ratio: float, release_rows: int
) -> tuple[int, int]:
    """One row: how many calm rows the alert still wants -> (where the row stands, how many it wants now)."""
    if score >= threshold:
        return (CONTINUES if wanted else BEGINS), release_rows
    if not wanted:
        return NO_ALERT, 0
    if score >= release_ratio * threshold:
        return CONTINUES, release_rows
    return (CONTINUES if wanted > 1 else ENDS), wanted - 1


@kernel
def alert_rows(
    entity: NDArray[np.int32],
    score: NDArray[np.float64],
    threshold: NDArray[np.float64],
    release_ratio: float,
    release_rows: int,
    wanted: NDArray[np.int32],
    alert: NDArray[np.uint8],
) -> None:
    """Alerts of scored rows, in the order of each entity; a row without a score (NaN) has none and changes none.

    ``wanted`` (one per entity) is where each entity stands, ``alert`` (one per row) receives the result.
    """
    for i in range(len(entity)):
        alert[i] = NO_ALERT
        if not math.isnan(score[i]):
            alert[i], wanted[entity[i]] = alert_step(
                wanted[entity[i]], score[i], threshold[i], release_ratio, release_rows
            )
