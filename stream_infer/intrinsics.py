"""Machine instructions that numba has no words for: words of bytes at any place, and prefetch.

``data`` is an array (n,) of uint8, read and written little-endian, as the processors are that numba's wheels are made
for. Bounds are checked where numba is told to check those of arrays. Spelt out byte by byte, a word is put together
too late for the loop around it to become vector code: 38 floats took five times as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["load_double", "load_float", "load_long", "prefetch", "store_int", "store_long"]

assert sys.byteorder == "little"

_Typed = tuple[Any, Callable[..., Any]]
_READ, _KEEP, _DATA = 0, 3, 1  # arguments of llvm.prefetch: to read, into all caches, not code
_INT, _LONG = ir.IntType(32), ir.IntType(64)


def _place(context: Any, builder: Any, signature: Any, arguments: Any, word: Any) -> Any:
    """A pointer to a ``word`` at an element, given array and index as the first arguments."""
    at = arguments[1]
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    if context.enable_boundscheck:
        last = builder.add(at, at.type(word.get_abi_size(context.target_data) - 1))
        do_check: Any = cgutils.do_boundscheck
        do_check(context, builder, last, array.nitems)
    return builder.bitcast(builder.gep(array.data, [at]), word.as_pointer())


def _load(result: Any, word: Any) -> Callable[..., Any]:
    def typed(_: Any, data: Any, _at: Any) -> _Typed:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_place(context, builder, signature, arguments, word), align=1)

        return result(data, types.intp), generate

    return intrinsic(typed)


def _store(value: Any, word: Any) -> Callable[..., Any]:
    def typed(_: Any, data: Any, _at: Any, _bits: Any) -> _Typed:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature, arguments, word)
            builder.store(arguments[2], place, align=1)
            return context.get_dummy_value()

        return types.void(data, types.intp, value), generate

    return intrinsic(typed)


def _prefetch(_: Any, array: Any, _index: Any) -> _Typed:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments, ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _INT, _INT, _INT])
        get_function: Any = cgutils.get_or_insert_function
        function = get_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, *(_INT(value) for value in (_READ, _KEEP, _DATA))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


load_double = _load(types.float64, ir.DoubleType())
"""``load_double(data, at)``: the float64 in bytes ``at`` to ``at + 8``."""

load_float = _load(types.float32, ir.FloatType())
"""``load_float(data, at)``: the float32 in bytes ``at`` to ``at + 4``."""

load_long = _load(types.uint64, _LONG)
"""``load_long(data, at)``: the uint64 in bytes ``at`` to ``at + 8``."""

store_int = _store(types.uint32, _INT)
"""``store_int(data, at, bits)``: a uint32 into bytes ``at`` to ``at + 4``."""

store_long = _store(types.uint64, _LONG)
"""``store_long(data, at, bits)``: a uint64 into bytes ``at`` to ``at + 8``."""

prefetch: Callable[..., Any] = intrinsic(_prefetch)
"""``prefetch(array, index)``: bring the cache line where an element of an array (n,) begins near; reads nothing."""
