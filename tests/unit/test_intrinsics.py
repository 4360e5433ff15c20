"""Words at any place of a byte array, as struct reads and writes them."""

from __future__ import annotations

import struct

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import intrinsics
from stream_infer.kernel import kernel


@kernel
def double_of(data, at):
    return intrinsics.load_double(data, at)


@kernel
def float_of(data, at):
    return intrinsics.load_float(data, at)


@kernel
def long_of(data, at):
    return intrinsics.load_long(data, at)


@kernel
def put_int(data, at, bits):
    intrinsics.store_int(data, at, bits)


@kernel
def put_long(data, at, bits):
    intrinsics.store_long(data, at, bits)


@kernel
def fetch(data, at):
    intrinsics.prefetch(data, at)
    return data[at]


@pytest.mark.parametrize(("load", "form"), [(double_of, "<d"), (float_of, "<f"), (long_of, "<Q")])
@given(st.binary(min_size=8, max_size=24), st.data())
def test_a_word_is_what_struct_reads(load, form, data, choice) -> None:
    at = choice.draw(st.integers(0, len(data) - struct.calcsize(form)))

    np.testing.assert_array_equal(
        load(np.frombuffer(data, np.uint8), at), struct.unpack_from(form, data, at)[0]
    )


@pytest.mark.parametrize(("store", "word", "form"), [(put_int, np.uint32, "<I"), (put_long, np.uint64, "<Q")])
@given(st.integers(0, 2**64 - 1), st.integers(0, 8))
def test_a_word_is_written_as_struct_writes_it(store, word, form, value, at) -> None:
    expected = bytearray(range(100, 120))
    written = np.frombuffer(bytes(expected), np.uint8).copy()
    value %= 2 ** (8 * struct.calcsize(form))
    struct.pack_into(form, expected, at, value)
    store(written, at, word(value))

    assert written.tobytes() == bytes(expected)


def test_prefetch_of_any_place_changes_nothing() -> None:
    data = np.arange(3)

    assert fetch(data, 2) == 2
    anew = numba.njit(fetch.py_func)  # of one that was on disk numba shows no code
    assert anew(data, 2) == 2
    assert ".prefetch" in anew.inspect_llvm(anew.signatures[0])
