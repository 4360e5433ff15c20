"""The runtime ``remote``: a server maps windows to errors, this process keeps watch over what it says.

Windows, thresholds and all state stay here, with the artifact; the server has the graph alone. Nothing it does loses
an event. Slow, gone, or answering what does not fit: ModelServerError, after some tries, and the worker goes back to
its last commit. A refusal, or errors that are not finite, may be the windows' own doing: before a record is blamed the
server has to prove itself, by the errors of some windows that the artifact's own graph has answered. It has to at the
start too, after every failure, and once a minute: another model under the same name is found out.
"""

from __future__ import annotations

import random
import time
import weakref
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError, ModelServerError, ModelServerGoneError
from stream_infer.models.artifact import MODEL, Artifact
from stream_infer.models.manifest import Manifest
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import OWN_VERSION, Server
from stream_infer.models.remote.asking import Asking, Refused, Unanswered
from stream_infer.models.remote.grpc import OpenInferenceGrpc
from stream_infer.models.remote.http import JsonClient
from stream_infer.models.remote.rest import BentoMl, OpenInferenceRest, TensorFlowServing

__all__ = ["RemoteModel", "Sample", "asking_of", "open_remote"]

_REQUEST_BYTES = 1 << 19
"""Windows of one request, as numbers: many servers take no more than 4 MiB, and JSON is five times as large."""
_PAUSE_S = 0.05
_SAMPLE_WINDOWS = 16
_USUAL_APART = 0.05
"""A server of less precision differs by less, another model by more (median over the sample)."""
_PROVE_EVERY_S = 60.0

Sample = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Windows, and what the artifact's own graph says of them."""


class RemoteModel:
    """Scores windows by asking a server; ``sample`` is what it has to know. ``prove`` comes first."""

    def __init__(self, asking: Asking, manifest: Manifest, server: Server, sample: Sample) -> None:
        self.name = manifest.name
        self.version = manifest.version
        self.layout = manifest.layout
        self._asking = asking
        self._server = server
        self._sample = sample
        self._most = max(1, _REQUEST_BYTES // (4 * self.layout.window * self.layout.features))
        self._proved_at = 0.0
        self._down_since: float | None = None
        weakref.finalize(self, asking.close)

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> errors (n, T, F); NaN for windows that are not finite, which are not sent.

        Raises ModelServerError while the server does not answer well, ModelServerGoneError once it was given up, and
        Refused for windows that it does not take although it is sound.
        """
        if self._down_since is not None or time.monotonic() - self._proved_at > _PROVE_EVERY_S:
            self.prove()
        errors = np.full((len(windows), self.layout.terms, self.layout.features), np.nan, np.float32)
        finite = np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)))
        for start in range(0, len(finite), self._most):
            rows = finite[start : start + self._most]
            errors[rows] = self._believed(np.ascontiguousarray(windows[rows]))
        return errors

    def prove(self) -> None:
        """Ask about the sample. Raises ModelServerError unless the server says what the artifact's own graph says."""
        windows, wanted = self._sample
        try:
            found = self._answer(windows)
        except Refused as refusal:
            raise self._broken(f"refuses even windows that it must know: {refusal}") from None
        if not np.isfinite(found).all():
            raise self._broken("gives no finite numbers, even for windows that it must know")
        apart = float(np.median(np.abs(found - wanted) / (np.abs(wanted) + 1e-3)))
        if apart > _USUAL_APART:
            raise self._broken(
                f"runs another model: its errors differ by {apart:.0%} from those of the artifact's {MODEL}"
            )
        self._proved_at = time.monotonic()
        self._down_since = None

    def _believed(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The server's errors; what it refuses, or gives no finite number for, only after it proved to be sound."""
        try:
            errors = self._answer(windows)
            for _ in range(self._server.retries):
                strange = ~np.isfinite(errors).all(axis=(1, 2))
                if not strange.any():
                    return errors
                errors[strange] = self._answer(windows[strange])
        except Refused:
            self.prove()
            raise
        if not np.isfinite(errors).all():
            self.prove()
        return errors

    def _answer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """One answer of the right shape.

        A single window is asked about again after a refusal, several are not: the scorer halves them.
        """
        failure: Refused | Unanswered = Unanswered("was not asked")
        for attempt in range(self._server.retries + 1):
            if attempt:
                time.sleep(_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            try:
                errors = self._fitting(self._asking.ask(windows, self._server.timeout_s), len(windows))
            except Unanswered as unanswered:
                failure = unanswered
            except Refused as refusal:
                failure = refusal
                if len(windows) > 1:
                    break
            else:
                return errors
        if isinstance(failure, Refused):
            raise failure
        raise self._broken(f"{failure} (asked {self._server.retries + 1} times)")

    def _fitting(self, errors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        wanted = (count, self.layout.terms, self.layout.features)
        if errors.shape != wanted:
            raise Unanswered(f"answers errors of shape {errors.shape}, wanted {wanted}")
        return errors.copy() if not errors.flags.writeable else errors

    def _broken(self, what: str) -> ModelServerError:
        """What to raise: in the end, that it is given up."""
        told = f"the model's server at {self._server.url} {what}"
        cure = (
            f"Cure: give it the {MODEL} of {self.name} {self.version}, or correct model.server_url, server_name "
            "and server_version"
        )
        now = time.monotonic()
        self._down_since = self._down_since or now
        down_s = now - self._down_since
        if down_s > self._server.patience_s:
            return ModelServerGoneError(
                f"{told}; given up after {down_s:.0f} s without a good answer. {cure}"
            )
        return ModelServerError(f"{told}. {cure}")


def open_remote(artifact: Artifact, server: Server) -> RemoteModel:
    """The model of an artifact, run by a server that has proved to have it.

    Raises ModelServerError as ``prove``, ModelError for an artifact or address of another kind.
    """
    if artifact.file != MODEL:
        raise ModelError(
            f"model.server_url: the artifact beside a server is the one with {MODEL}, not {artifact.file}"
        )
    manifest = artifact.manifest
    named = _named(server, manifest.name, manifest.version)
    model = RemoteModel(asking_of(named), manifest, named, _sample(artifact))
    model.prove()
    return model


def _sample(artifact: Artifact) -> Sample:
    manifest = artifact.manifest
    own = OnnxModel.open(artifact.model, (manifest.name, manifest.version), manifest.layout)
    shape = (_SAMPLE_WINDOWS, manifest.layout.window, manifest.layout.features)
    windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return windows, own.score(windows)


def _named(server: Server, name: str, version: str) -> Server:
    """With the names that the server knows, and its own version where none is asked for."""
    wanted = None if server.version is None else server.version.replace(OWN_VERSION, version)
    return replace(server, name=(server.name or name).replace(OWN_VERSION, version), version=wanted)


def asking_of(server: Server) -> Asking:
    """The protocol of this server. Raises ModelError where the address is not one of it."""
    name = server.name or ""
    if server.url.startswith("grpc"):
        if server.protocol != "open-inference":
            raise ModelError(
                f"model.server_url = {server.url}: {server.protocol} is asked over HTTP; begin it with http://"
            )
        return OpenInferenceGrpc(server.url, name, server.version, server.token)
    client = JsonClient(server.url, server.token)
    if server.protocol == "bentoml":
        return BentoMl(client, name)
    if server.protocol == "tensorflow-serving":
        return TensorFlowServing(client, name, server.version)
    return OpenInferenceRest(client, name, server.version)
