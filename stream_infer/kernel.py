"""How this package's compiled loops are made and called.

numba's own disk cache looks at the file of the compiled function alone. A kernel is made of several files: with one
of the others changed, the old machine code would go on in use. So the key of the cache also takes the text of every
module in the kernel's folder, of this one and of those that it is compiled with; a kernel calls only what is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target
from numba.extending import register_jitable
from numpy.typing import NDArray

from stream_infer import intrinsics, part_compiler
from stream_infer.log import get_logger

__all__ = ["given", "kernel", "kernel_part", "uncompiled"]

_LOG = get_logger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
"""A kernel's own type, which the decorator keeps."""

Kind = TypeVar("Kind", bound=np.generic)

_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "_nrt": False,
    "forceinline": True,
    "no_cfunc_wrapper": True,
    "no_cpython_wrapper": False,
}
"""Kernels and parts have the same ones: numba compiles a part anew for other options of its caller."""

_SHARED = tuple(map(Path, (__file__, intrinsics.__file__, part_compiler.__file__)))


def given(array: NDArray[Any], dtype: type[Kind]) -> NDArray[Kind]:
    """An input as every kernel takes it: contiguous, of this type, read-only.

    A kernel is compiled once per kind of arguments; this way there is one kind, whoever made the array.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def kernel(function: Function) -> Function:
    """Compile to machine code on first call, keep it on disk, run without the interpreter's lock.

    Such a kernel may not allocate: without counting references it is up to 3 times faster, and with every callee
    inlined 2 times (decode). Division by zero gives an infinity, as in numpy: a check for it would keep loops from
    becoming vector code.
    """
    compiled: Any = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # no folder to write to: compile anew in every process
        compiled._cache = _SourcesCache(function)  # noqa: SLF001
    return cast("Function", compiled)


def kernel_part(function: Function) -> Function:
    """What only kernels call. It becomes a piece of each of them, and stays a Python function for everyone else."""
    part: Function = register_jitable(**_OPTIONS, pipeline_class=part_compiler.PartCompiler)(function)
    return part


def uncompiled(function: Callable[..., Any]) -> bool:
    """Whether a kernel's machine code, of its sources and for the processor as they are, could be on disk and isn't."""
    kept = getattr(function, "_cache", None)
    return isinstance(kept, _SourcesCache) and not kept.holds_any()


class _SourcesCache(FunctionCache):
    """A function's machine code, valid as long as all sources of its folder are."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._folder = Path(function.__code__.co_filename).parent

    def holds_any(self) -> bool:
        """Whether there is machine code for some kind of arguments, which would be used if it were called with them."""
        target = cpu_target.target_context.codegen().magic_tuple()
        wanted = target, _sources_digest(self._folder)
        kept = self._cache_file._load_index()  # type: ignore[no-untyped-call] # noqa: SLF001
        return any((key[1], key[-1]) == wanted for key in kept)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code; where the disk is full or may not be written, the next process compiles anew."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as failure:
            _LOG.warning("compiled code is not kept", folder=self.cache_path, reason=str(failure))

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        key: tuple[Any, ...] = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*key, _sources_digest(self._folder))


@cache
def _sources_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({*folder.glob("*.py"), *_SHARED}):
        digest.update(path.read_bytes())
    return digest.hexdigest()
