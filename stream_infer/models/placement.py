"""Where a model runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, get_args

from stream_infer.errors import ModelError
from stream_infer.log import get_logger

__all__ = [
    "ON_CPU",
    "OWN_VERSION",
    "Device",
    "DeviceError",
    "Placement",
    "Protocol",
    "Server",
    "first_usable",
]

_LOG = get_logger(__name__)
M = TypeVar("M")

Device = Literal["tensorrt", "cuda", "cpu"]
"""The fastest first."""
Protocol = Literal["open-inference", "bentoml", "tensorflow-serving"]

OWN_VERSION = "{version}"
"""Stands for the artifact's version in what a server is asked for."""


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
    ``batch_max`` is the largest batch to expect; a GPU is prepared for its parts. With ``fallback`` the next device is
    taken where this one cannot be used. With a ``server`` the model runs there. ``memory_bytes`` is the most that the
    model may take beside its weights: in its rehearsal, and with ONNX Runtime on the CPU in every call after that.
    """

    device: Device = "cpu"
    threads: int = 1
    batch_max: int = 4096
    server: Server | None = None
    fallback: bool = False
    memory_bytes: int = 2 << 30


ON_CPU = Placement()
"""One thread of the processor: what nobody chose."""


class DeviceError(ModelError):
    """A device that cannot be used here; another may."""


def first_usable(placement: Placement, open_on: Callable[[Placement], M]) -> tuple[M, Device]:
    """What opens on the device, or with ``fallback`` on the first after it that can be used, and which that is.

    Raises DeviceError when none is left.
    """
    order: tuple[Device, ...] = get_args(Device)
    at = order.index(placement.device)
    for device, after in zip(order[at:], order[at + 1 :], strict=False):
        try:
            return open_on(replace(placement, device=device)), device
        except DeviceError as error:
            if not placement.fallback:
                raise
            _LOG.warning(
                "device cannot be used, trying the next", device=device, then=after, reason=str(error)
            )
    return open_on(replace(placement, device="cpu")), "cpu"
