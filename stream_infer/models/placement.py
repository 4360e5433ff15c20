"""Where a model runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ON_CPU", "Device", "Placement", "Protocol", "Server"]

Device = Literal["cpu", "cuda", "tensorrt"]
Protocol = Literal["open-inference", "bentoml", "tensorflow-serving"]


@dataclass(frozen=True)
class Server:
    """A server that runs the model in the process's place.

    ``url`` is http(s):// or, for the Open Inference Protocol, grpc(s)://. ``name`` and ``version`` are those it knows
    the model by; None: the artifact's name, and the version it takes itself. ``{version}`` in them is the artifact's.
    One request takes ``timeout_s`` at most, and is sent again at most ``retries`` times; after ``patience_s`` without
    one good answer it is given up.
    """

    url: str
    protocol: Protocol = "open-inference"
    name: str | None = None
    version: str | None = None
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 2.0
    retries: int = 2
    patience_s: float = 300.0


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs.

    ``threads`` are those of one batch on the CPU: more help only models far larger than a forecast.
    ``batch_max`` bounds the batch sizes that TensorRT builds its engine for. With a ``server`` the model runs there.
    """

    device: Device = "cpu"
    threads: int = 1
    batch_max: int = 4096
    server: Server | None = None


ON_CPU = Placement()
"""One thread of the processor: what nobody chose."""
