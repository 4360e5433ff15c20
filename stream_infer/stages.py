"""The stages of a worker: what it asks of whoever decodes, scores and publishes, and of another model's stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.checkpoint import Checkpoint
from stream_infer.records import Batch, Columns, Rejects, Scores

__all__ = ["Decoded", "Decoder", "Publisher", "Scorer", "Stages", "Swap"]


class Decoded(Protocol):
    """What a decoder returns; ``waiting`` are rows whose schema cannot be had now."""

    columns: Columns
    rejects: Rejects
    waiting: NDArray[np.int64]


class Decoder(Protocol):
    """Batch -> columns."""

    def decode(self, batch: Batch) -> Decoded:
        """Decode every row."""


class Scorer(Protocol):
    """Window, score and judge; ``took_s`` says how long the last batch was in each."""

    took_s: dict[str, float]

    def score(
        self, columns: Columns, partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Scores, list[Rejects]]:
        """Score the rows; the first result says which of them have scores."""

    def fresh(
        self, columns: Columns, partition: NDArray[np.int32], offset: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which rows of a replay are not in the state yet."""


class Publisher(Protocol):
    """Writes what the stages made of a batch into the open delivery, and counts it there."""

    def publish(
        self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]
    ) -> tuple[Columns, Scores, list[Rejects]]:
        """Write all rows; returns them as they were written. Raises Undone when the producer takes no more."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What a batch goes through between poll and commit."""

    decoder: Decoder
    scorer: Scorer
    publisher: Publisher
    checkpoint: Checkpoint


class Swap(Protocol):
    """Whether another model is to be used, and its stages."""

    @property
    def waits(self) -> bool:
        """Whether another model is ready."""

    def adopt(self, stages: Stages) -> Stages:
        """The stages from now on, in the place of these. Called with nothing open and all state written."""
