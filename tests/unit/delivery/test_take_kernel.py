"""Which records are seen to have no headers, in bytes as a fetch brings them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.avro.put import number
from stream_infer.delivery.native.take_kernel import is_bare
from stream_infer.kernel import kernel

_LENGTHS = st.one_of(st.integers(1, 70), st.integers(8_150, 8_250), st.integers(1, 70_000))
_EARLIER = st.binary(min_size=8, max_size=8)


@kernel
def bare(payload, length):
    return is_bare(payload, length)


def _bare(before: bytes, value: bytes, behind: bytes) -> bool:
    memory = np.frombuffer(before + value + behind, np.uint8)
    return bare(memory.ctypes.data + len(before), len(value))


@given(_EARLIER, _LENGTHS, st.integers(0, 300))
def test_a_record_is_bare_where_it_says_so(earlier: bytes, length: int, headers: int) -> None:
    before = earlier + number(length)

    assert _bare(before, b"v" * length, number(headers)) == (headers == 0)


@given(_EARLIER, _LENGTHS)
def test_nothing_behind_a_value_of_an_older_format_is_believed(earlier: bytes, length: int) -> None:
    assert not _bare(earlier + length.to_bytes(4, "big"), b"v" * length, b"\0")


def test_a_value_that_lies_elsewhere_is_not_looked_at() -> None:
    assert not bare(0, 0)
