"""The worker's scoring stage beside the bare model on the same device, in turns, batch by batch.

bare    one session, its input already on the device and its output left there: the model alone
stage   what the worker does with a batch: windows from the host in, errors on the host out
other   the way that it does not take: on a GPU the batch in one run, on a CPU in parts on two lanes

So both ways run wherever this is called, and what the lanes are worth is seen beside. The figures of interest are those
of a GPU; on a CPU all read the same memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stream_infer.models.artifact import MODEL
from stream_infer.models.buckets import part_of
from stream_infer.models.loading import LoadedModel, load_model
from stream_infer.models.onnx_lanes import Lanes
from stream_infer.models.onnx_runtime import INPUT, OUTPUT
from stream_infer.models.placement import Device, Placement

__all__ = ["BATCHES", "Timed", "compare", "summary"]

BATCHES = (64, 256, 1_024, 2_000, 4_096, 8_192, 16_384)
_WARM_CALLS = 20
_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"})],
    "tensorrt": ["TensorrtExecutionProvider", ("CUDAExecutionProvider", {"use_tf32": "0"})],
}

_Way = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Timed:
    """Calls with one size of batch: rows per second from the median call, and the slowest in a hundred."""

    batch: int
    bare_per_s: float
    stage_per_s: float
    other_per_s: float
    bare_p99_ms: float
    stage_p99_ms: float

    @property
    def added_p99_ms(self) -> float:
        """What the stage adds to the slowest calls."""
        return self.stage_p99_ms - self.bare_p99_ms


def compare(
    model: Path, device: Device, batches: Sequence[int] = BATCHES, seconds: float = 2.0
) -> list[Timed]:
    """Time all with each size of batch, ``seconds`` each. Raises RuntimeError where their results differ."""
    loaded = load_model(model, Placement(device, batch_max=max(batches)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model / MODEL, options, providers=_PROVIDERS[device])
    ways = (loaded.model.score, _other(loaded, session, device, max(batches)))
    random = np.random.default_rng(0)
    timed = []
    for batch in batches:
        shape = (batch, loaded.layout.window, loaded.layout.features)
        windows = random.standard_normal(shape).astype(np.float32)
        bare, outputs = _bare(session, device, windows)
        bare()
        for way in ways:
            if not np.allclose(way(windows), outputs(), rtol=1e-4, atol=1e-4):
                raise RuntimeError(f"the stage and the bare model differ on a batch of {batch}")
        calls = [partial(way, windows) for way in ways]
        bare_s, stage_s, other_s = _in_turns((bare, *calls), seconds)
        rates = (batch / float(np.median(took)) for took in (bare_s, stage_s, other_s))
        slowest = (float(np.percentile(took, 99)) * 1e3 for took in (bare_s, stage_s))
        timed.append(Timed(batch, *rates, *slowest))
    return timed


def summary(timed: Sequence[Timed]) -> str:
    """The share of the bare model's best throughput that the stage reaches, and what it adds there."""
    best_bare = max(timed, key=lambda one: one.bare_per_s)
    best_stage = max(timed, key=lambda one: one.stage_per_s)
    return (
        f"best batch of the bare model {best_bare.batch:,}: {best_bare.bare_per_s:,.0f} rows/s; of the stage "
        f"{best_stage.batch:,}: {best_stage.stage_per_s:,.0f} rows/s, "
        f"{best_stage.stage_per_s / best_bare.bare_per_s:.0%} of it; "
        f"the stage adds {best_bare.added_p99_ms:.2f} ms at p99 to a batch of {best_bare.batch:,}"
    )


def _other(loaded: LoadedModel, session: onnxruntime.InferenceSession, device: Device, most: int) -> _Way:
    """The way from the host and back that the worker does not take on this device."""
    if device == "cpu":
        return Lanes(session, loaded.layout, part_of(most))

    def in_one_run(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        errors: NDArray[np.float32] = session.run((OUTPUT,), {INPUT: windows})[0]
        return errors

    return in_one_run


def _bare(
    session: onnxruntime.InferenceSession, device: Device, windows: NDArray[np.float32]
) -> tuple[Callable[[], object], Callable[[], NDArray[np.float32]]]:
    """A call of the model alone, and its last result."""
    place = "cpu" if device == "cpu" else "cuda"
    binding = session.io_binding()
    given: Any = onnxruntime.OrtValue.ortvalue_from_numpy(windows, place, 0)
    binding.bind_ortvalue_input(INPUT, given)
    binding.bind_output(OUTPUT, place)

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call, lambda: binding.copy_outputs_to_cpu()[0]


def _in_turns(calls: Sequence[Callable[[], object]], seconds: float) -> list[NDArray[np.float64]]:
    """Seconds of each call of each, in turns, so that what else goes on strikes all alike."""
    for _ in range(_WARM_CALLS):
        for call in calls:
            call()
    took: list[list[float]] = [[] for _ in calls]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not took[0]:
        for number, call in enumerate(calls):
            began = time.perf_counter()
            call()
            took[number].append(time.perf_counter() - began)
    return [np.array(one) for one in took]
