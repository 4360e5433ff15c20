"""A model changes without a stop: from one batch to the next, when all state is written.

That the state is written first is what keeps a restore exact: it loads rows that the old version made and replays
none of them with the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.schema import SchemaError
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.models.loading import LoadedModel
from stream_infer.probe import Unfit, flips
from stream_infer.scorer import Scorer
from stream_infer.stages import Stages
from stream_infer.windows.table import EntityTable

__all__ = ["Candidate", "FixedModel", "ModelSwap"]

_ROWS_THAT_TELL = 100
"""Fewer recent rows say whether a model works at all, not how often it would judge otherwise."""


@dataclass(frozen=True)
class Candidate:
    """An open model, the folder it came from, and stages of its own over the worker's entity table."""

    loaded: LoadedModel
    path: Path
    decoder: Decoder
    scorer: Scorer
    stages: Stages


class _Follower(Protocol):
    @property
    def held(self) -> bool: ...

    def take(self) -> tuple[ModelVersion, Candidate] | None: ...

    def refuse(self, version: ModelVersion, reason: str, running: str) -> None: ...


class FixedModel:
    """The model is a folder that nobody follows."""

    waits = False

    def adopt(self, stages: Stages) -> Stages:
        """Nothing to go on to."""
        return stages


class ModelSwap:
    """Says when a swap waits, and does it: both on the owner thread. ``probe`` is the follower's.

    ``running`` is the version in use, ``candidate`` what it is made of; ``swapped`` is told of each new one.
    """

    def __init__(
        self,
        follower: _Follower,
        table: EntityTable,
        running: str,
        candidate: Candidate,
        max_flips: float,
        swapped: Callable[[ModelVersion, Candidate], None],
    ) -> None:
        self._follower = follower
        self._table = table
        self._running = running
        self._candidate = candidate
        self._max_flips = max_flips
        self._swapped = swapped

    @property
    def waits(self) -> bool:
        """Whether another model is ready."""
        return self._follower.held

    def probe(self, candidate: Candidate) -> None:
        """Try a candidate on recent windows. Raises Unfit when it fails, or judges too many of them otherwise."""
        recent = self._candidate.scorer.recent.rows()
        if recent is None:
            return
        share = flips(*recent, self._candidate.loaded, candidate.loaded)
        if len(recent[1]) >= _ROWS_THAT_TELL and share > self._max_flips:
            raise Unfit(
                f"it judges {share:.0%} of the last {len(recent[1])} events otherwise than the version in use. "
                "Cure: if that is meant, raise model.max_flips"
            )

    def adopt(self, stages: Stages) -> Stages:
        """The stages from now on. No delivery may be open, and no partition may be in a replay."""
        taken = self._follower.take()
        if taken is None:
            return stages
        version, candidate = taken
        try:
            candidate.decoder.succeed(self._candidate.decoder)
        except SchemaError as error:
            self._follower.refuse(version, f"it cannot read the events: {error}", self._running)
            return stages
        self._table.adopt(candidate.loaded.layout, candidate.loaded.profiles)
        self._running, self._candidate = version.version, candidate
        self._swapped(version, candidate)
        return candidate.stages
