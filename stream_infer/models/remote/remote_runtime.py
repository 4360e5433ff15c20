"""The runtime ``remote``: a server maps windows to errors, this process keeps watch over what it says.

Windows, thresholds and all state stay here, with the artifact; the server has the graph alone. Nothing it does loses
an event. Slow, gone, or answering what does not fit: ModelServerError, after some tries, and the worker goes back to
its last commit. A refusal, or errors that are not finite, may be the windows' own doing: then a window of zeros, an
entity at its centre, has to have an answer before a record is blamed.
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
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.placement import OWN_VERSION, Server
from stream_infer.models.remote.asking import Asking, Refused, Unanswered
from stream_infer.models.remote.grpc import OpenInferenceGrpc
from stream_infer.models.remote.http import JsonClient
from stream_infer.models.remote.rest import BentoMl, OpenInferenceRest, TensorFlowServing
from stream_infer.windows.layout import Layout

__all__ = ["RemoteModel", "asking_of", "open_remote"]

_REQUEST_BYTES = 1 << 20
"""Windows of one request, unpacked: some servers take no more than 4 MiB, and JSON is three times as large."""
_PAUSE_S = 0.05
_TRIED_WINDOWS = 16
_USUAL_APART = 0.05


class RemoteModel:
    """Scores windows by asking a server, at most ``most`` windows at a time."""

    def __init__(self, asking: Asking, name: str, version: str, layout: Layout, server: Server) -> None:
        self.name = name
        self.version = version
        self.layout = layout
        self._asking = asking
        self._server = server
        self._most = max(1, _REQUEST_BYTES // (4 * layout.window * layout.features))
        self._down_since: float | None = None
        weakref.finalize(self, asking.close)

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (n, W, F) -> errors (n, T, F); NaN for windows that are not finite, which are not sent.

        Raises ModelServerError while the server does not answer well, ModelServerGoneError once it was given up, and
        Refused for windows that it does not take while it does take zeros.
        """
        errors = np.full((len(windows), self.layout.terms, self.layout.features), np.nan, np.float32)
        sound = np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)))
        for start in range(0, len(sound), self._most):
            rows = sound[start : start + self._most]
            errors[rows] = self._believed(np.ascontiguousarray(windows[rows]))
        return errors

    def _believed(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The server's errors; what it refuses, or gives no finite number for, only after it proved to be sound."""
        try:
            errors = self._answer(windows)
            for _ in range(self._server.retries):
                strange = ~np.isfinite(errors).all(axis=(1, 2))
                if not strange.any():
                    self._down_since = None
                    return errors
                errors[strange] = self._answer(windows[strange])
        except Refused:
            self._prove()
            raise
        if not np.isfinite(errors).all():
            self._prove()
        self._down_since = None
        return errors

    def _prove(self) -> None:
        """Ask about a window of zeros. Raises ModelServerError when that has no finite answer either."""
        zeros = np.zeros((1, self.layout.window, self.layout.features), np.float32)
        try:
            errors = self._answer(zeros)
        except Refused as refusal:
            raise self._broken(f"refuses even a window of zeros: {refusal}") from None
        if not np.isfinite(errors).all():
            raise self._broken("answers what is not finite, even to a window of zeros")

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
        cure = f"Cure: start it with the model {self.name} {self.version}, or correct model.server_url and server_name"
        now = time.monotonic()
        self._down_since = self._down_since or now
        down_s = now - self._down_since
        if down_s > self._server.patience_s:
            return ModelServerGoneError(
                f"{told}; given up after {down_s:.0f} s without a good answer. {cure}"
            )
        return ModelServerError(f"{told}. {cure}")


def open_remote(artifact: Artifact, server: Server) -> RemoteModel:
    """The model of an artifact, run by a server, which is asked at once whether it has the same one.

    Raises ModelServerError when it does not answer, ModelError when what it says of some windows is not what the
    artifact's own graph says of them.
    """
    if artifact.file != MODEL:
        raise ModelError(
            f"model.server_url: the artifact beside a server is the one with {MODEL}, not {artifact.file}"
        )
    manifest = artifact.manifest
    named = _named(server, manifest.name, manifest.version)
    model = RemoteModel(asking_of(named), manifest.name, manifest.version, manifest.layout, named)
    own = OnnxModel.open(artifact.model, (manifest.name, manifest.version), manifest.layout)
    _compare(model, own, named)
    return model


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


def _compare(model: RemoteModel, own: OnnxModel, server: Server) -> None:
    """Refuse a server that runs another model; one of less precision passes."""
    shape = (_TRIED_WINDOWS, model.layout.window, model.layout.features)
    windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        found, wanted = model.score(windows), own.score(windows)
    except Refused as refusal:
        raise ModelError(
            f"the model's server at {server.url} does not take the model's windows: {refusal}"
        ) from None
    apart = float(np.median(np.abs(found - wanted) / (np.abs(wanted) + 1e-3)))
    if not apart <= _USUAL_APART:
        raise ModelError(
            f"the model's server at {server.url} runs another model than {model.name} {model.version}: its errors "
            f"differ by {apart:.0%} from those of the artifact. Cure: give it the artifact's model.onnx, or correct "
            "model.server_name and server_version"
        )
