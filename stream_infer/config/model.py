"""The model that scores, and where its next version comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NewType, Self

from pydantic import Field, SecretStr, model_validator

from stream_infer.config.kafka import Section

__all__ = ["ModelSettings", "PathOrAddress"]

PathOrAddress = NewType("PathOrAddress", str)
"""A path, relative to the settings file, unless it begins with a scheme as ``models:/`` does."""


class ModelSettings(Section):
    """The model that scores. Either `path`, for one that stays, or `source`, for one that is followed."""

    path: Path | None = None
    """Folder of a model made by `stream-infer train`."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Its digest, as `stream-infer train` prints it: another model in its place is refused. Only with `path`."""
    source: PathOrAddress | None = None
    """A model and an alias to follow: `models/detector@current` (a folder of versions, docs/models.md) or
    `models:/detector@champion` (MLflow). What the alias comes to mean is swapped in without a stop."""
    registry_url: str | None = Field(default=None, pattern=r"^https?://")
    """Address of the MLflow server."""
    registry_username: str | None = None
    """User name for it."""
    registry_password: SecretStr | None = None
    """Password for it. Best given by the environment."""
    registry_token: SecretStr | None = None
    """Token for it, in the place of user name and password. Best given by the environment."""
    poll_interval_s: float = Field(default=5.0, ge=0.1, le=3600)
    """So often the alias is looked up."""
    max_flips: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A new version is refused when it judges a larger share of the most recent events otherwise than the one in use;
    1 takes any."""
    cache_dir: Path | None = None
    """Folder that keeps the versions once fetched, so that a restart needs no registry download."""
    device: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """Where the model runs. `cuda` and `tensorrt` need the package onnxruntime-gpu."""
    fallback: bool = False
    """Where that device cannot be used, go on with the next of `tensorrt`, `cuda`, `cpu`, and log why. Else it is an
    error."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of one inference on the CPU."""
    memory_bytes: int = Field(default=2_147_483_648, ge=16_777_216)
    """The most memory that the model may take beside its weights. A model that wants more is refused; events for which
    it wants more are rejected."""
    server_url: str | None = Field(default=None, pattern=r"^(https?|grpcs?)://[^/@?#]+(/[^?#]*)?$")
    """A server that runs the model in the worker's place (docs/models.md): `http://host:port`, or `grpc://host:port`.
    The artifact is still needed: windows, thresholds and state are the worker's."""
    server_protocol: Literal["open-inference", "bentoml", "tensorflow-serving"] = "open-inference"
    """How it is asked: `open-inference` (KServe V2: MLServer, Triton; HTTP or gRPC), `bentoml` or `tensorflow-serving`
    (HTTP)."""
    server_name: str | None = Field(default=None, min_length=1)
    """The model's name there (of BentoML: the endpoint), by default the artifact's. `{version}` in it is the artifact's
    version."""
    server_version: str | None = Field(default=None, min_length=1)
    """The version to ask for; `{version}` for the artifact's own, so that a swap asks for another. Not set: what the
    server takes by itself."""
    server_token: SecretStr | None = None
    """Bearer token for it. Best given by the environment."""
    server_timeout_s: float = Field(default=2.0, ge=0.01, le=60)
    """So long one request may take."""
    server_retries: int = Field(default=2, ge=0, le=10)
    """So often a request is sent again before the worker goes back to its last commit and tries the batch anew."""
    server_patience_s: float = Field(default=300.0, ge=0, le=86_400)
    """So long it does that; then the worker ends (exit 11)."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.path is None) == (self.source is None):
            raise ValueError(
                "set one of model.path (a folder) and model.source (a model and an alias to follow)"
            )
        if self.sha256 is not None and self.path is None:
            raise ValueError("model.sha256 is that of a model that stays: set model.path, or leave it out")
        return self
