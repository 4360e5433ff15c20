"""Where a model runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ON_CPU", "Device", "Placement"]

Device = Literal["cpu", "cuda", "tensorrt"]


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs.

    ``threads`` are those of one batch on the CPU: more help only models far larger than a forecast.
    ``batch_max`` bounds the batch sizes that TensorRT builds its engine for.
    """

    device: Device = "cpu"
    threads: int = 1
    batch_max: int = 4096


ON_CPU = Placement()
"""One thread of the processor: what nobody chose."""
