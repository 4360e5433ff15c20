"""A model's source as written in the settings -> its registry, and what is wanted of it.

- ``models/smd``: an artifact, as it is
- ``models/detector@current``: a folder of versions, and an alias or version of it
- ``models:/detector@champion``: a model of an MLflow server, and an alias or version of it
- ``wandb:team/project/detector@prod``: what a plugin serves under that scheme
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

from stream_infer.errors import ConfigError, ModelRegistryError
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.model_registry.registry import ModelRegistry

__all__ = ["PLUGINS", "Login", "ModelSource", "open_registry"]

PLUGINS = "stream_infer.model_registries"
_MLFLOW = "models"
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):(?!//?$)(?P<rest>.+)")


@dataclass(frozen=True)
class Login:
    """Where the registry answers and how to log in, where it asks for that. Secrets in clear: never log them."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    timeout_s: float = 10.0


@dataclass(frozen=True)
class ModelSource:
    """``place`` is the model, ``wanted`` the alias or version after the last @; ``scheme`` is empty for folders."""

    text: str
    scheme: str
    place: str
    wanted: str | None

    @classmethod
    def parse(cls, text: str) -> ModelSource:
        """Take a source apart. Raises ConfigError when it names nothing."""
        place, at, wanted = text.rpartition("@")
        if not at:
            place, wanted = text, ""
        if not place or (at and not wanted):
            raise ConfigError(
                f"model source {text!r}: names no model or no alias. Cure: write it as models/NAME@ALIAS, "
                "models:/NAME@ALIAS, or the path of an artifact"
            )
        found = _SCHEME.fullmatch(place)
        if found is None:
            return cls(text, "", place, wanted or None)
        return cls(text, found["scheme"], found["rest"].lstrip("/"), wanted or None)

    def at(self, wanted: str) -> ModelSource:
        """The same model, another alias or version."""
        place = self.text if self.wanted is None else self.text.rpartition("@")[0]
        return replace(self, text=f"{place}@{wanted}", wanted=wanted)


def open_registry(source: ModelSource, login: Login) -> ModelRegistry:
    """The registry that serves this source. Raises ConfigError when nothing does."""
    if not source.scheme:
        return DirectoryRegistry(Path(source.place))
    if source.scheme == _MLFLOW:
        return _mlflow(source, login)
    return _plugin(source)(source)


def _mlflow(source: ModelSource, login: Login) -> ModelRegistry:
    import httpx  # noqa: PLC0415 (slow; a folder of versions does without)

    from stream_infer.model_registry.mlflow import MlflowRegistry  # noqa: PLC0415

    if login.url is None:
        raise ConfigError(
            f"model source {source.text!r}: the address of the MLflow server is missing. Cure: set model.registry_url"
        )
    headers = {"Authorization": f"Bearer {login.token}"} if login.token else {}
    auth = (login.username, login.password or "") if login.username else None
    connect = functools.partial(
        httpx.Client, base_url=login.url, headers=headers, auth=auth, timeout=login.timeout_s
    )
    return MlflowRegistry(login.url, connect, source.place)


def _plugin(source: ModelSource) -> Callable[[ModelSource], ModelRegistry]:
    found = [entry for entry in entry_points(group=PLUGINS) if entry.name == source.scheme]
    if not found:
        raise ConfigError(
            f"model source {source.text!r}: no registry for {source.scheme!r}. Cure: a path or models:/NAME@ALIAS; or "
            f"install a package with an entry point {source.scheme!r} in the group {PLUGINS} (docs/models.md)"
        )
    try:
        made: Callable[[ModelSource], ModelRegistry] = found[0].load()
    except Exception as error:
        raise ModelRegistryError(
            f"the registry plugin {found[0].value} does not load: {error}. Cure: see that its package is whole"
        ) from error
    return made
