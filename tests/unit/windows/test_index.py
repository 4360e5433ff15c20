"""KeyIndex against a dict, and its hash against CPython's."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.kernel import kernel
from stream_infer.records import Text
from stream_infer.windows.index import KeyIndex
from stream_infer.windows.index_kernels import sip13
from stream_infer.windows.layout import NONE

Key = tuple[int, bytes]

keys = st.tuples(
    st.integers(0, 2), st.one_of(st.binary(max_size=3), st.integers(0, 400).map(lambda i: b"key-%d" % i))
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("locate"), st.lists(keys, min_size=1, max_size=120)),
        st.tuples(st.just("release"), st.lists(keys, min_size=1, max_size=120, unique=True)),
        st.tuples(st.just("release_partition"), st.integers(0, 2)),
    ),
    max_size=12,
)


def _ask(index: KeyIndex, asked: list[Key], method: str = "find") -> list[int]:
    partition = np.array([partition for partition, _ in asked], np.int32)
    found: list[int] = getattr(index, method)(partition, Text.of([key for _, key in asked])).tolist()
    return found


@settings(deadline=None, max_examples=200)
@given(steps)
def test_the_index_is_a_dict(lived) -> None:
    index, held = KeyIndex(1000), dict[Key, int]()
    for step, argument in lived:
        if step == "locate":
            for key, number in zip(argument, _ask(index, argument, "locate"), strict=True):
                assert held.setdefault(key, number) == number
        elif step == "release":
            gone = [held.pop(key) for key in argument if key in held]
            index.release(np.array(gone, np.int64))
        else:
            numbers = index.of_partition(argument)
            gone = {key: number for key, number in held.items() if key[0] == argument}
            assert sorted(numbers.tolist()) == sorted(gone.values())
            index.release(numbers)
            held = {key: number for key, number in held.items() if key[0] != argument}
        _assert_same(index, held)


def _assert_same(index: KeyIndex, held: dict[Key, int]) -> None:
    assert len(index) == len(held) == len(set(held.values()))
    assert index.used >= len(held)
    assert _ask(index, list(held)) == list(held.values())
    assert _ask(index, [(3, key) for _, key in held]) == [NONE] * len(held)
    text = index.keys(np.array(list(held.values()), np.int64))
    assert [text[i] for i in range(len(text))] == [key for _, key in held]
    assert index.store.slots["partition"][list(held.values())].tolist() == [
        partition for partition, _ in held
    ]


def test_memory_of_released_keys_is_used_again() -> None:
    """A stream of ever new entities, each forgotten in time, takes no more memory after a while."""
    index = KeyIndex(3000)
    sizes = []
    for turn in range(60):
        numbers = _ask(index, [(0, b"entity-%d-%d-%s" % (turn, i, b"x" * 40)) for i in range(2000)], "locate")
        assert len(index) == 2000
        index.release(np.array(numbers))
        sizes.append(index.bytes_count)

    assert sizes[-1] <= sizes[10]
    assert index.used <= 2048


def test_names_give_profiles() -> None:
    index = KeyIndex(10, KeyIndex.of([b"a", b"b", b""]))
    numbers = _ask(index, [(5, b"b"), (5, b"z"), (1, b"a"), (0, b"")], "locate")

    assert index.store.slots["profile"][numbers].tolist() == [1, 3, 0, 2]


def test_two_indexes_hash_by_different_seeds() -> None:
    assert not np.array_equal(KeyIndex(1).store.seed, KeyIndex(1).store.seed)


@kernel
def hash_of(data, start, length, seed):
    return sip13(data, start, length, seed)


@pytest.mark.skipif(
    sys.hash_info.algorithm != "siphash13", reason="this Python hashes bytes by another function"
)
def test_the_hash_is_siphash_1_3() -> None:
    """CPython hashes bytes by the same function, by key zero when PYTHONHASHSEED is 0."""
    values = [bytes(range(length)) for length in range(sys.hash_info.cutoff + 1, 64)]
    program = "import sys; print([hash(bytes(range(n))) for n in range(sys.hash_info.cutoff + 1, 64)])"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    ).stdout

    seed = np.zeros(2, np.uint64)
    own = [
        hash_of(np.frombuffer(bytearray(b"??" + value), np.uint8), 2, len(value), seed) for value in values
    ]
    assert [str(np.uint64(h).astype(np.int64)) for h in own] == told.decode().strip("[]\n").split(", ")
