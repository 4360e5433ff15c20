"""A model changes without a stop: from one batch to the next, when all state is written.

That the state is written first is what keeps a restore exact: it loads rows that the old version made and replays
none of them with the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stream_infer.model_registry.follower import Follower
from stream_infer.model_registry.registry import ModelVersion
from stream_infer.models.loading import LoadedModel
from stream_infer.probe import Unfit
from stream_infer.windows.table import EntityTable
from stream_infer.worker import Stages

__all__ = ["Candidate", "FixedModel", "ModelSwap"]


@dataclass(frozen=True)
class Candidate:
    """A model beside the one in use: open, warm, with stages of its own over the same entity table."""

    loaded: LoadedModel
    stages: Stages


class SwapObserver(Protocol):
    """Who is told that another version scores."""

    def swapped(self, version: ModelVersion, loaded: LoadedModel) -> None:
        """From the next batch on it is this one."""


class FixedModel:
    """The model is a folder that nobody follows."""

    waits = False

    def adopt(self, stages: Stages) -> Stages:
        """Nothing to go on to."""
        return stages


class ModelSwap:
    """The owner thread's side of following: says when a swap waits, and does it.

    ``fits`` raises Unfit where the candidate cannot read what the stages in use read.
    """

    def __init__(
        self,
        follower: Follower[Candidate],
        table: EntityTable,
        running: str,
        fits: Callable[[Stages, Stages], None],
        observer: SwapObserver,
    ) -> None:
        self._follower = follower
        self._table = table
        self._running = running
        self._fits = fits
        self._observer = observer

    @property
    def waits(self) -> bool:
        """Whether another model is ready."""
        return self._follower.held

    def adopt(self, stages: Stages) -> Stages:
        """The stages from now on. No delivery may be open, and no partition may be in a replay."""
        taken = self._follower.take()
        if taken is None:
            return stages
        version, candidate = taken
        try:
            self._fits(stages, candidate.stages)
        except Unfit as unfit:
            self._follower.refuse(version, str(unfit), self._running)
            return stages
        self._table.adopt(candidate.loaded.layout, candidate.loaded.profiles)
        self._running = version.version
        self._observer.swapped(version, candidate.loaded)
        return candidate.stages
