"""Changes of a worker that let its model and its registry misbehave; each is named in CHAOS_PATCHES.

Both are told what to do by files beside the rig's clock: ``model-mood`` holds one byte, ``registry-url`` an address.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from stream_infer.avro.registry import Registry
from stream_infer.service import Service

__all__ = ["HANG", "MEMORY", "MODEL_MOODS", "NAN_ENTITY", "RAISE", "SHAPE", "model", "model_mood", "registry"]

WELL, RAISE, SHAPE, MEMORY, HANG = range(5)
MODEL_MOODS = {RAISE: "raises", SHAPE: "answers in a wrong shape", MEMORY: "is out of memory", HANG: "hangs"}
NAN_ENTITY = "nan-"
"""The model gives NaN for entities of which the name begins so."""

_ONE_AT_A_TIME = {RAISE, SHAPE}  # these moods fail batches, and never a row alone: no record is to blame


def model_mood(folder: Path) -> Path:
    """The file with the model's mood, one byte."""
    return folder / "model-mood"


def registry_url(folder: Path) -> Path:
    """The file with the registry's address."""
    return folder / "registry-url"


def model(service: Service) -> None:
    """Wrap the model of this worker."""
    worker: Any = service.worker
    scorer = worker._stages.scorer
    path = model_mood(_folder())
    if not path.exists():
        path.write_bytes(b"\0")
    with path.open("r+b") as file:
        mood = mmap.mmap(file.fileno(), 1)
    scorer.model = _Moody(scorer.model, mood)
    score = scorer.score

    def noting(columns: Any, partition: Any, offset: Any) -> Any:
        names = [columns.entity[i] for i in range(len(columns))]
        scorer.model.nan = np.array([name.startswith(NAN_ENTITY.encode()) for name in names], np.bool_)
        return score(columns, partition, offset)

    scorer.score = noting


def registry(service: Service) -> None:
    """Take schemas from a registry, where the rig has named one by now; nothing is kept over a restart."""
    path = registry_url(_folder())
    if path.exists():
        worker: Any = service.worker
        decoder = worker._stages.decoder
        decoder._schemas = Registry({"url": path.read_text("utf-8")}, timeout_s=1.0)
        decoder._programs.clear()


class _Moody:
    """A model that fails as it is told; it is the true one else."""

    def __init__(self, true: Any, mood: mmap.mmap) -> None:
        self._true = true
        self._mood = mood
        self.nan = np.zeros(0, np.bool_)
        self._whole: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._true, name)

    def score(self, windows: Any) -> Any:
        """Errors of the windows, or what the mood makes of them."""
        mood = self._mood[0]
        if len(windows) == len(self.nan):
            self._whole = windows
        if mood in {MEMORY, HANG}:
            self._mood[0] = WELL  # one worker, one time
            if mood == MEMORY:
                raise MemoryError("the model wants more than there is")
            time.sleep(3600)
        if mood in _ONE_AT_A_TIME and len(windows) > 1:
            if mood == SHAPE:
                return np.zeros((len(windows), 1, 1), np.float32)
            raise RuntimeError("the model fails on batches for a while")
        errors = np.array(self._true.score(windows))
        errors[self._nan_of(windows)] = np.nan
        return errors

    def _nan_of(self, windows: Any) -> Any:
        """Which of these windows are to be NaN; a batch that failed comes again in parts, slices of itself."""
        if len(windows) == len(self.nan):
            return self.nan
        if self._whole is None or not np.may_share_memory(windows, self._whole):
            return np.zeros(len(windows), np.bool_)
        start = (windows.ctypes.data - self._whole.ctypes.data) // windows.strides[0]
        return self.nan[start : start + len(windows)]


def _folder() -> Path:
    return Path(os.environ["CHAOS_CLOCK"]).parent
