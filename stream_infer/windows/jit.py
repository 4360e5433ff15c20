"""The one decorator of this package's compiled kernels.

A kernel calls only kernels of its own file: numba keys its disk cache by the file of the outermost one and
would not notice a change in another.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["kernel"]

F = TypeVar("F", bound=Callable[..., Any])
"""A kernel's own type, which the decorator keeps."""


def kernel(function: F) -> F:
    """Compile to machine code on first call, keep it on disk, run without the interpreter's lock.

    Division by zero gives an infinity, as in numpy: a check for it would keep loops from becoming vector code.
    """
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))
