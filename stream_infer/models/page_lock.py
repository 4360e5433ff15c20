"""Page-locked host memory: a GPU copies from and to it by itself, and nobody waits.

CUDA knows locked pages by their address, whoever asks it for a copy. So ordinary arrays are locked, by the CUDA
runtime that a GPU's engine has loaded into the process, and the engine needs no allocator for them.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_infer.log import get_logger

__all__ = ["page_lock"]

_LOG = get_logger(__name__)
_LIBRARY = "libcudart.so"
_PORTABLE = 1  # cudaHostRegisterPortable: for all contexts of the process


def page_lock(arrays: Iterable[NDArray[np.float32]]) -> bool:
    """Lock the pages of arrays, each for as long as it lives.

    False, and a line in the log, where that cannot be: copies from and to them then give the same, later.
    """
    runtime = _loaded()
    if runtime is None:
        return _not_locked(f"no {_LIBRARY} in this process")
    for array in arrays:
        address = ctypes.c_void_p(array.ctypes.data)
        code = runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), ctypes.c_uint(_PORTABLE))
        if code:
            return _not_locked(f"cudaHostRegister gives error {code} for {array.nbytes:,} bytes")
        release = weakref.finalize(array, runtime.cudaHostUnregister, address)
        release.atexit = False  # the pages go with the process, and the runtime may have gone before
    return True


def _not_locked(reason: str) -> bool:
    _LOG.warning("memory not page-locked, copies to and from the GPU are slower", reason=reason)
    return False


def _loaded() -> ctypes.CDLL | None:
    """The CUDA runtime of this process, of whatever version and from wherever it was loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[5:]
        if path and _LIBRARY in path[0]:
            return ctypes.CDLL(path[0])
    return None
