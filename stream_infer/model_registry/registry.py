"""What the product asks of a model registry: three verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["Catalogue", "ModelRegistry", "ModelVersion"]


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model, as its registry knows it.

    ``uri`` says where its artifact is, ``run_link`` where a person reads how it was made; ``metrics`` are those that
    the registry shows. ``aliases`` are the names that mean this version now (MLflow's stages count as such).
    """

    name: str
    version: str
    uri: str
    aliases: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    run_link: str | None = None


class ModelRegistry(Protocol):
    """Keeps versions of one model. Every verb raises ModelRegistryError, which names the cause and the cure.

    A registry of your own (W&B, SageMaker, Vertex, …) is a class with these verbs, made by a function that takes the
    source as written in the settings, and named by its scheme under the entry point ``stream_infer.model_registries``
    (docs/models.md has a complete one).
    """

    def resolve(self, wanted: str) -> ModelVersion:
        """The version that ``wanted``, an alias or a version, means now. Asked every few seconds: keep it cheap."""

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Put the files of the version's artifact into the empty ``folder``; they are verified afterwards."""

    def point(self, alias: str, version: str) -> None:
        """Make the alias mean this version, at once for all who ask."""


@runtime_checkable
class Catalogue(Protocol):
    """A registry that can also say what it has, and take more: for ``stream-infer model list`` and ``register``."""

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, the newest first."""

    def add(self, folder: Path, version: str, metrics: Mapping[str, float]) -> ModelVersion:
        """Take the artifact in ``folder``. A registry that counts versions by itself may choose another number."""
