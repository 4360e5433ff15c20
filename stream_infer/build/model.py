"""From settings to a model: the one in use, and those that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stream_infer.config.model import ModelSettings
from stream_infer.errors import ModelError
from stream_infer.model_registry.follower import Follower, FollowerObserver
from stream_infer.model_registry.registry import ModelRegistry, ModelVersion
from stream_infer.model_registry.shelf import Shelf
from stream_infer.model_registry.source import Login, ModelSource, open_registry
from stream_infer.models.artifact import Artifact
from stream_infer.models.loading import LoadedModel, load_model
from stream_infer.models.placement import OWN_VERSION, Placement, Server
from stream_infer.swap import Candidate

__all__ = [
    "Followed",
    "ModelAtHand",
    "artifact_of",
    "fixed",
    "model_at",
    "model_of",
    "placement_of",
    "version_of",
]

_LATEST = "current"


@dataclass(frozen=True)
class ModelAtHand:
    """An open model, the folder it came from, and what its registry says of it (None: it is a folder's)."""

    loaded: LoadedModel
    path: Path
    version: ModelVersion | None


class Followed:
    """A model whose alias is followed."""

    def __init__(self, settings: ModelSettings, source: ModelSource) -> None:
        self._settings = settings
        self._wanted = source.wanted or _LATEST
        self._registry: ModelRegistry = open_registry(source, _login(settings))
        self._shelf = Shelf(settings.cache_dir)

    def first(self) -> ModelAtHand:
        """What the alias means now."""
        return self.open(self._registry.resolve(self._wanted))

    def open(self, version: ModelVersion) -> ModelAtHand:
        """Fetch, verify and open a version. Raises ModelError."""
        return model_at(self._registry, version, self._settings, self._shelf)

    def fetch(self) -> Path:
        """The folder of what the alias means now, verified but not opened."""
        return self._shelf.take(self._registry, self._registry.resolve(self._wanted))

    def follower(
        self, running: str, prepare: Callable[[ModelVersion], Candidate], observer: FollowerObserver
    ) -> Follower[Candidate]:
        """What follows the alias from now on."""
        every_s = self._settings.poll_interval_s
        return Follower(self._registry, self._wanted, running, prepare, observer, every_s)

    def close(self) -> None:
        """Remove what was fetched for this process alone."""
        self._shelf.close()


def model_of(settings: ModelSettings) -> tuple[ModelAtHand, Followed | None]:
    """The model of the settings, and its follower-to-be where it has an alias. Raises ConfigError, ModelError."""
    if settings.source is None:
        path = _path(settings)
        return ModelAtHand(load_model(path, placement_of(settings), settings.sha256), path, None), None
    followed = Followed(settings, ModelSource.parse(settings.source))
    return followed.first(), followed


def fixed(settings: ModelSettings, path: Path, version: ModelVersion | None) -> ModelSettings:
    """The same settings for the model in this folder, which nobody follows; a server is asked for the same version."""
    own: dict[str, object] = {"path": path, "source": None}
    if version is not None:
        own["sha256"] = None
        for name, value in (
            ("server_name", settings.server_name),
            ("server_version", settings.server_version),
        ):
            own[name] = value and value.replace(OWN_VERSION, version.version)
    return settings.model_copy(update=own)


def placement_of(settings: ModelSettings) -> Placement:
    """Where the model runs."""
    if settings.server_url is None:
        return Placement(
            settings.device,
            settings.threads,
            fallback=settings.fallback,
            memory_bytes=settings.memory_bytes,
        )
    token = settings.server_token
    server = Server(
        settings.server_url,
        settings.server_protocol,
        settings.server_name,
        settings.server_version,
        None if token is None else token.get_secret_value(),
        settings.server_timeout_s,
        settings.server_retries,
        settings.server_patience_s,
    )
    return Placement(server=server, memory_bytes=settings.memory_bytes)


def model_at(
    registry: ModelRegistry, version: ModelVersion, settings: ModelSettings, shelf: Shelf
) -> ModelAtHand:
    """One version of a registry, fetched to the shelf, verified and opened as the settings say. Raises ModelError."""
    path = shelf.take(registry, version)
    loaded = load_model(path, placement_of(fixed(settings, path, version)))
    return ModelAtHand(_named(loaded, version), path, version)


def artifact_of(settings: ModelSettings) -> Artifact:
    """The verified artifact of the settings, not opened. Raises ConfigError, ModelError."""
    if settings.source is None:
        return Artifact.load(_path(settings))
    followed = Followed(settings, ModelSource.parse(settings.source))
    try:
        return Artifact.load(followed.fetch())
    finally:
        followed.close()


def version_of(settings: ModelSettings) -> tuple[str, str | None]:
    """The version that these settings mean now, and the source that goes on meaning it (None: it is a folder).

    Raises ConfigError, ModelError.
    """
    if settings.source is None:
        return Artifact.load(_path(settings)).manifest.version, None
    source = ModelSource.parse(settings.source)
    version = open_registry(source, _login(settings)).resolve(source.wanted or _LATEST).version
    return version, source.at(version).text


def _path(settings: ModelSettings) -> Path:
    if settings.path is None:
        raise ModelError("no model: set model.path or model.source")
    return settings.path


def _named(loaded: LoadedModel, version: ModelVersion) -> LoadedModel:
    """The model under the registry's name and version, which scored events carry."""
    manifest = loaded.manifest.model_copy(update={"name": version.name, "version": version.version})
    return loaded._replace(manifest=manifest)


def _login(settings: ModelSettings) -> Login:
    password, token = settings.registry_password, settings.registry_token
    return Login(
        settings.registry_url,
        settings.registry_username,
        None if password is None else password.get_secret_value(),
        None if token is None else token.get_secret_value(),
    )
