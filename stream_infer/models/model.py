"""What a Scorer asks of a model, whatever runtime is behind it."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError, WorkerError
from stream_infer.windows.layout import Layout

__all__ = ["Model", "first_line", "lacks_memory", "warm_up_model"]

# The arena of ONNX Runtime, on any device; CUDA and torch; cuBLAS and cuDNN.
_NO_MEMORY = ("BFCArena", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


class Model(Protocol):
    """Maps windows to errors. Pure: the same window gives the same errors, whatever stands beside it.

    A window that is not finite gives errors that are not, in its own row alone. What ``score`` returns is the caller's:
    no later call changes it. Two threads may ask at once. What a model holds (memory, connections) goes with it.
    """

    @property
    def name(self) -> str:
        """The artifact's name."""

    @property
    def version(self) -> str:
        """The artifact's version."""

    @property
    def layout(self) -> Layout:
        """Shapes and recursions of the windows this model takes."""

    def score(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardised windows (n, W, F), oldest row first -> one error per term and feature (n, T, F)."""


def warm_up_model(model: Model, batch_sizes: tuple[int, ...]) -> float:
    """Score zeros in each of these batch sizes, so that no real event pays for a first call.

    Returns the seconds it took. Raises ModelError when the model cannot score.
    """
    label, layout = f"model {model.name} {model.version}", model.layout
    started = time.perf_counter()
    for size in batch_sizes:
        windows = np.zeros((size, layout.window, layout.features), np.float32)
        try:
            errors = model.score(windows)
        except WorkerError:
            raise
        except Exception as error:
            raise ModelError(f"{label}: cannot score {size} windows: {first_line(error)}") from error
        if errors.shape != (size, layout.terms, layout.features):
            raise ModelError(f"{label}: gave errors {errors.shape} for {size} windows")
    return time.perf_counter() - started


def first_line(error: Exception) -> str:
    """What an engine says of a failure, without its stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def lacks_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory. Its bindings do not export the classes that they raise."""
    words = str(error)
    return any(word in words for word in _NO_MEMORY)
