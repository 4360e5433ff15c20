"""Follows an alias: asks the registry again and again, in a thread of its own, and makes ready what it means now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from stream_infer.errors import ModelError, ModelRegistryError, ModelServerError
from stream_infer.log import get_logger
from stream_infer.model_registry.registry import ModelRegistry, ModelVersion

__all__ = ["Follower", "FollowerObserver"]

_LOG = get_logger(__name__)
_JOIN_S = 5.0

C = TypeVar("C")


class FollowerObserver(Protocol):
    """Who is told what became of a version that the alias means."""

    def unfollowed(self, reason: str) -> None:
        """The registry did not answer, or not well: what runs goes on."""

    def refused(self, version: str, reason: str) -> None:
        """A version will not be used: what runs goes on."""


class Follower(Generic[C]):
    """Makes a candidate of each version that ``wanted`` comes to mean, and holds it until it is taken.

    ``prepare`` fetches, verifies, opens and warms up a version; ModelRegistryError and ModelServerError from it are
    tried again, ModelError refuses the version for good. ``running`` is the version in use. The candidate of a version
    that the alias no longer means is dropped.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        wanted: str,
        running: str,
        prepare: Callable[[ModelVersion], C],
        observer: FollowerObserver,
        every_s: float,
    ) -> None:
        self._registry = registry
        self._wanted = wanted
        self._running = running
        self._prepare = prepare
        self._observer = observer
        self._every_s = every_s
        self._refused: str | None = None
        self._held: tuple[ModelVersion, C] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="model follower", daemon=True)

    def open(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop following. A version that is just being opened may hold this up for some seconds."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    @property
    def held(self) -> bool:
        """Whether a candidate waits; costs nothing to ask."""
        return self._held is not None

    def take(self) -> tuple[ModelVersion, C] | None:
        """The candidate, which counts as running from now on; None when the alias has moved on."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                self._running = held[0].version
        return held

    def refuse(self, version: ModelVersion, reason: str, running: str) -> None:
        """The candidate just taken cannot be used after all; ``running`` still is."""
        with self._lock:
            self._running, self._refused = running, version.version
        self._tell_refused(version, reason)

    def _follow(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._look()
            except ModelRegistryError as error:
                _LOG.warning("the model registry does not say which version to use", reason=str(error))
                self._observer.unfollowed(str(error))
            except Exception as error:  # noqa: BLE001 - a plugin, or a model, may raise anything; what runs goes on
                _LOG.error("following the model failed", reason=f"{type(error).__name__}: {error}")
                self._observer.unfollowed(f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        version = self._registry.resolve(self._wanted)
        with self._lock:
            held = None if self._held is None else self._held[0].version
            if held is not None and version.version != held:
                self._held = None
            known = {held, self._refused} if version.version == held else {self._running, self._refused}
        if version.version in known:
            return
        _LOG.info("another model version", name=version.name, version=version.version, alias=self._wanted)
        try:
            candidate = self._prepare(version)
        except (ModelRegistryError, ModelServerError):
            raise
        except ModelError as error:
            self._refused = version.version
            self._tell_refused(version, str(error))
            return
        with self._lock:
            self._held = version, candidate

    def _tell_refused(self, version: ModelVersion, reason: str) -> None:
        _LOG.error("model version refused, the one in use goes on", version=version.version, reason=reason)
        self._observer.refused(version.version, reason)
