"""Batches in parts on two lanes of one ONNX Runtime session: while one part is computed, the next is copied.

On a GPU each call of a session has a stream of its own, for its copy in, its kernels and its copy out; calls by two
threads overlap as far as the device can. docs/decisions/0023-two-lanes-to-a-gpu.md has why it is done this way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import _pybind_state as binding

from stream_infer.log import get_logger
from stream_infer.models.buckets import bucket_of, buckets_to
from stream_infer.models.model import lacks_memory
from stream_infer.models.page_lock import page_lock
from stream_infer.windows.layout import Layout

__all__ = ["Lanes"]

_LOG = get_logger(__name__)
_LANES = 2
_HOST = binding.OrtDevice(binding.OrtDevice.cpu(), binding.OrtDevice.default_memory(), 0)

Array = NDArray[np.float32]


class Lanes:
    """Runs a session over windows (n, W, F) -> errors (n, T, F), ``part`` rows at a time, a bucket.

    A part takes the smallest bucket that holds it. ``locked``: buffers in page-locked memory, for a GPU. Threads may
    ask at once; those of its own end when it is let go.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, layout: Layout, part: int, *, locked: bool = False
    ) -> None:
        self.part = part
        self._layout = layout
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        lanes = [_Lane(session, layout, part) for _ in range(_LANES)]
        if locked:
            page_lock([buffer for lane in lanes for buffer in (lane.windows, lane.errors)])
        for lane in lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(_LANES, "onnx-lane")

    def __call__(self, windows: Array) -> Array:
        """Raises what ONNX Runtime raises for any of the parts, once none of them is under way."""
        wanted = (self._layout.window, self._layout.features)
        if windows.shape[1:] != wanted:  # a copy into a buffer would stretch them
            raise ValueError(f"windows {windows.shape}, wanted (n, {wanted[0]}, {wanted[1]})")
        return self._scored(windows, self.part)

    def warm_up(self) -> None:
        """Run each bucket on both lanes, so that no event waits for what a device prepares for a new shape.

        Where one wants more memory than there is, parts stay below it.
        """
        began, layout = time.perf_counter(), self._layout
        for size in buckets_to(self.part):
            try:
                self._scored(np.zeros((_LANES * size, layout.window, layout.features), np.float32), size)
            except Exception as error:
                if size == 1 or not lacks_memory(error):
                    raise
                _LOG.warning("parts are smaller, for want of memory", part=size // 2, wanted=self.part)
                self.part = size // 2
                break
        _LOG.info("lanes warm", part=self.part, took_s=time.perf_counter() - began)

    def _scored(self, windows: Array, part: int) -> Array:
        layout = self._layout
        errors = np.empty((len(windows), layout.terms, layout.features), np.float32)
        if len(windows) <= part:
            self._pass(windows, errors)
            return errors
        passing = [
            self._threads.submit(self._pass, windows[at : at + part], errors[at : at + part])
            for at in range(0, len(windows), part)
        ]
        wait(passing)  # the windows are the caller's again after this, even where a part failed
        for one in passing:
            one.result()
        return errors

    def _pass(self, windows: Array, errors: Array) -> None:
        if not len(windows):
            return
        lane = self._free.get()
        try:
            lane.run(windows, errors)
        finally:
            self._free.put(lane)


class _Lane:
    """Buffers for one part at a time. The rest of a bucket is zeros: what was in it before may be why it failed."""

    def __init__(self, session: onnxruntime.InferenceSession, layout: Layout, part: int) -> None:
        self.windows = np.zeros((part, layout.window, layout.features), np.float32)
        self.errors = np.zeros((part, layout.terms, layout.features), np.float32)
        self._run_of = {size: self._bound(session, size) for size in buckets_to(part)}

    def run(self, windows: Array, errors: Array) -> None:
        count, size = len(windows), bucket_of(len(windows))
        np.copyto(self.windows[:count], windows, casting="no")
        self.windows[count:size] = 0
        self._run_of[size]()
        np.copyto(errors, self.errors[:count])

    def _bound(self, session: onnxruntime.InferenceSession, size: int) -> Callable[[], None]:
        """A call over the first ``size`` rows of the buffers.

        Not an IOBinding: that copies what lies on the host to the device when it is bound, not when it is run.
        """
        inputs, outputs = session.get_inputs(), session.get_outputs()
        return partial(
            session.run_with_ortvaluevector,
            onnxruntime.RunOptions(),
            [tensor.name for tensor in inputs],
            _values(self.windows[:size]),
            [tensor.name for tensor in outputs],
            _values(self.errors[:size]),
            [_HOST],
        )


def _values(array: Array) -> Any:
    """The memory of an array as the binding takes it; whoever has them must keep the array."""
    values = binding.OrtValueVector()
    values.push_back(binding.OrtValue.ortvalue_from_numpy(array, _HOST))
    return values
