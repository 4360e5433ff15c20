"""What compiled kernels need to work with memory and functions of another library: calls, loads, stores, copies.

Addresses are plain int64 values and come in as arguments, never as constants, so that the compiled code can be kept on
disk: a library lies elsewhere in every process. Nothing here checks anything; who calls it must know what lies there.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["call_int", "call_long", "copy_bytes", "load_byte", "load_int", "load_long"]

_WORD = ir.IntType(64)
_CODE: Any = cgutils


def _calling(result: Any) -> Any:
    """A kernel's call of a C function whose arguments are pointers and integers (at most 64 bits each)."""

    def declare(typing: Any, address: Any, arguments: Any) -> Any:  # noqa: ARG001 - numba's signature
        signature = result(types.int64, arguments)

        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            packed = signature.args[1]
            words = [
                context.cast(builder, word, kind, types.int64)
                for word, kind in zip(_CODE.unpack_tuple(builder, given[1]), packed.types, strict=True)
            ]
            form = ir.FunctionType(context.get_value_type(result), [_WORD] * len(words))
            return builder.call(builder.inttoptr(given[0], form.as_pointer()), words)

        return signature, code

    return intrinsic(declare)


def _loading(kind: Any, bits: int) -> Any:
    def declare(typing: Any, address: Any) -> Any:  # noqa: ARG001 - numba's signature
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
            return builder.load(builder.inttoptr(given[0], ir.IntType(bits).as_pointer()))

        return kind(types.int64), code

    return intrinsic(declare)


call_long = _calling(types.int64)
"""call_long(function, (a, b, ...)): for functions that give a pointer, a size or an int64."""

call_int = _calling(types.int32)
"""call_int(function, (a, b, ...)): for functions that give an int, an enum or nothing."""

load_byte = _loading(types.uint8, 8)
load_int = _loading(types.int32, 32)
load_long = _loading(types.int64, 64)


def _copying(typing: Any, target: Any, source: Any, count: Any) -> Any:  # noqa: ARG001 - numba's signature
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        byte = ir.IntType(8).as_pointer()
        to, source = builder.inttoptr(given[0], byte), builder.inttoptr(given[1], byte)
        _CODE.raw_memcpy(builder, to, source, given[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


copy_bytes: Any = intrinsic(_copying)
"""copy_bytes(target, source, count): bytes that do not overlap."""
