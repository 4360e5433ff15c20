"""How this package's compiled kernels are made and called.

A kernel calls only kernels of its own file: numba keys its disk cache by the file of the outermost one and
would not notice a change in another.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["given", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])
"""A kernel's own type, which the decorator keeps."""

S = TypeVar("S", bound=np.generic)


def given(array: NDArray[Any], dtype: type[S]) -> NDArray[S]:
    """An input as every kernel takes it: contiguous, of this type, read-only.

    A kernel is compiled once per kind of arguments; this way there is one kind, whoever made the array.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def kernel(function: F) -> F:
    """Compile to machine code on first call, keep it on disk, run without the interpreter's lock.

    Division by zero gives an infinity, as in numpy: a check for it would keep loops from becoming vector code.
    """
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))
