"""Kernels of KeyIndex: an open-addressing hash from (partition, key) to a slot number.

A bucket is an int64: 0 when empty, else 31 bits of hash above 32 bits of slot number + 1. So a look-up reads
one bucket, one slot and the key, and a rebuild reads nothing but buckets. Linear probing; deletion shifts back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.intrinsics import prefetch
from stream_infer.kernel import kernel, kernel_part
from stream_infer.windows.layout import NONE

__all__ = ["DEAD_BYTES", "FREE", "HELD", "USED", "USED_BYTES", "Store", "find", "insert", "key_hash"]
__all__ += ["rebuild", "release", "repack", "slots_of", "sweep"]

FREE, USED, HELD, USED_BYTES, DEAD_BYTES = range(5)
"""Store.counters: head of the free list, slots ever taken, slots held now, arena bytes taken, of them dead."""

_LOW = 0xFFFFFFFF


class Store(NamedTuple):
    """The arrays of a KeyIndex."""

    buckets: NDArray[np.int64]
    slots: NDArray[np.void]
    arena: NDArray[np.uint8]
    counters: NDArray[np.int64]
    seed: NDArray[np.uint64]


@kernel_part
def _rotate(x: np.uint64, bits: int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@kernel_part
def _round(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a += b
    b = _rotate(b, 13) ^ a
    a = _rotate(a, 32)
    c += d
    d = _rotate(d, 16) ^ c
    a += d
    d = _rotate(d, 21) ^ a
    c += b
    b = _rotate(b, 17) ^ c
    c = _rotate(c, 32)
    return a, b, c, d


@kernel_part
def sip13(data: NDArray[np.uint8], start: int, length: int, seed: NDArray[np.uint64]) -> np.uint64:
    """SipHash-1-3 of some bytes (Aumasson, Bernstein 2012): keys chosen to collide need the seed."""
    a = seed[0] ^ np.uint64(0x736F6D6570736575)
    b = seed[1] ^ np.uint64(0x646F72616E646F6D)
    c = seed[0] ^ np.uint64(0x6C7967656E657261)
    d = seed[1] ^ np.uint64(0x7465646279746573)
    whole = length & ~7
    for at in range(0, length + 1, 8):
        word = np.uint64(0)
        for i in range(8 if at < whole else length - whole):
            word |= np.uint64(data[start + at + i]) << np.uint64(8 * i)
        if at == whole:
            word |= np.uint64(length & 0xFF) << np.uint64(56)
        d ^= word
        a, b, c, d = _round(a, b, c, d)
        a ^= word
    c ^= np.uint64(0xFF)
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    return np.uint64(a ^ b ^ c ^ d)


@kernel_part
def key_hash(
    seed: NDArray[np.uint64], partition: int, data: NDArray[np.uint8], start: int, length: int
) -> int:
    """31 bits of hash of a key in a partition."""
    h = sip13(data, start, length, seed) + np.uint64(partition) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(h >> np.uint64(33))  # type: ignore[return-value]


@kernel_part
def _same_bytes(arena: NDArray[np.uint8], at: int, data: NDArray[np.uint8], start: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110  all() is not for kernels
        if arena[at + i] != data[start + i]:
            return False
    return True


@kernel_part
def _is_key(
    store: Store, number: int, partition: int, data: NDArray[np.uint8], start: int, length: int
) -> bool:
    slot = store.slots[number]
    if slot.partition != partition or slot.key_length != length:
        return False
    return _same_bytes(store.arena, slot.key_start, data, start, length)


@kernel_part
def _find_one(store: Store, h: int, partition: int, data: NDArray[np.uint8], start: int, length: int) -> int:
    mask = len(store.buckets) - 1
    at = h & mask
    while store.buckets[at] != 0:
        bucket = store.buckets[at]
        number = int(bucket & _LOW) - 1
        if bucket >> 32 == h and _is_key(store, number, partition, data, start, length):
            return number
        at = (at + 1) & mask
    return NONE


@kernel
def find(
    store: Store,
    partition: NDArray[np.int32],
    data: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    scratch: NDArray[np.int64],
    found: NDArray[np.int64],
) -> int:
    """Write the slot of each row's key to ``found``, NONE where it has none; return how many have none.

    In short loops, so that the processor waits for the memory of many rows at once: hashes; the first slot with the
    hash, out of the buckets; where that slot's key is; whether it is the row's. Only where it is not (two keys of one
    hash) one probes on. ``scratch`` (2, m).
    """
    mask = len(store.buckets) - 1
    hashes, key_start = scratch[0], scratch[1]
    for i in range(len(start)):
        hashes[i] = key_hash(store.seed, partition[i], data, start[i], length[i])
        prefetch(store.buckets, hashes[i] & mask)
    for i in range(len(start)):
        at = hashes[i] & mask
        while store.buckets[at] != 0 and store.buckets[at] >> 32 != hashes[i]:
            at = (at + 1) & mask
        found[i] = (store.buckets[at] & _LOW) - 1
    for i in range(len(start)):
        slot = store.slots[max(found[i], 0)]
        fits = slot.partition == partition[i] and slot.key_length == length[i]
        key_start[i] = slot.key_start if fits else NONE
    missing = 0
    for i in range(len(start)):
        if found[i] == NONE:
            missing += 1
        elif key_start[i] == NONE or not _same_bytes(store.arena, key_start[i], data, start[i], length[i]):
            found[i] = _find_one(store, hashes[i], partition[i], data, start[i], length[i])
            missing += found[i] == NONE
    return missing


@kernel_part
def _put(buckets: NDArray[np.int64], bucket: int) -> None:
    mask = len(buckets) - 1
    at = (bucket >> 32) & mask
    while buckets[at] != 0:
        at = (at + 1) & mask
    buckets[at] = bucket


@kernel_part
def _take_slot(store: Store, partition: int, data: NDArray[np.uint8], start: int, length: int) -> int:
    counters = store.counters
    number = int(counters[FREE])
    if number == NONE:
        number = int(counters[USED])
        counters[USED] += 1
    else:
        counters[FREE] = store.slots[number].next
    counters[HELD] += 1
    slot = store.slots[number]
    slot.key_start = counters[USED_BYTES]
    slot.key_length = length
    for i in range(length):
        store.arena[slot.key_start + i] = data[start + i]
    counters[USED_BYTES] += length
    slot.partition = partition
    slot.last_time_ms = 0
    slot.as_of = 0
    slot.dirty_since = NONE
    slot.count = 0
    slot.next = NONE
    return number


@kernel
def insert(
    store: Store,
    names: Store,
    fleet: int,
    partition: NDArray[np.int32],
    data: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    found: NDArray[np.int64],
) -> None:
    """Give each row whose ``found`` is NONE a slot, with its profile out of ``names`` (``fleet`` if not there).

    Slots, arena and buckets must have room.
    """
    for i in range(len(start)):
        if found[i] != NONE:
            continue
        h = key_hash(store.seed, partition[i], data, start[i], length[i])
        number = _find_one(store, h, partition[i], data, start[i], length[i])
        if number == NONE:
            number = _take_slot(store, partition[i], data, start[i], length[i])
            _put(store.buckets, (h << 32) | (number + 1))
            name = key_hash(names.seed, 0, data, start[i], length[i])
            profile = _find_one(names, name, 0, data, start[i], length[i])
            store.slots[number].profile = fleet if profile == NONE else profile
        found[i] = number


@kernel_part
def _forget(buckets: NDArray[np.int64], h: int, number: int) -> None:
    """Empty the bucket of a slot and shift back what was probed past it."""
    mask = len(buckets) - 1
    hole = h & mask
    while (buckets[hole] & _LOW) != number + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        bucket = buckets[at]
        if bucket == 0:
            break
        home = (bucket >> 32) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            buckets[hole] = bucket
            hole = at
    buckets[hole] = 0


@kernel
def release(store: Store, arena: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
    """Free these slots and forget their keys. They must be held and in no dirty queue.

    ``arena`` is the store's, read-only as all keys are that are hashed.
    """
    for number in numbers:
        slot = store.slots[number]
        h = key_hash(store.seed, slot.partition, arena, slot.key_start, slot.key_length)
        _forget(store.buckets, h, number)
        store.counters[DEAD_BYTES] += slot.key_length
        store.counters[HELD] -= 1
        slot.partition = NONE
        slot.dirty_since = NONE
        slot.next = store.counters[FREE]
        store.counters[FREE] = number


@kernel
def slots_of(store: Store, partition: int, numbers: NDArray[np.int64]) -> int:
    """Write the slots of a partition to ``numbers``; return how many."""
    n = 0
    for number in range(store.counters[USED]):
        if store.slots[number].partition == partition:
            numbers[n] = number
            n += 1
    return n


@kernel
def sweep(
    store: Store, partition: int, at: int, idle_before_ms: int, as_of_bound: int, numbers: NDArray[np.int64]
) -> int:
    """Write to ``numbers`` the idle slots among the next len(numbers) after ``at``; return how many.

    Idle: clean, newest time before ``idle_before_ms``, as of no later than ``as_of_bound``.
    """
    n = 0
    for step in range(len(numbers)):
        number = (at + step) % store.counters[USED]
        slot = store.slots[number]
        clean = slot.partition == partition and slot.dirty_since == NONE and slot.as_of <= as_of_bound
        if clean and slot.last_time_ms < idle_before_ms:
            numbers[n] = number
            n += 1
    return n


@kernel
def rebuild(old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
    """Put every bucket of ``old`` into ``new``, which is empty and larger."""
    for bucket in old:
        if bucket != 0:
            _put(new, bucket)


@kernel
def repack(store: Store, arena: NDArray[np.uint8]) -> None:
    """Copy the keys of held slots to a new arena, end to end."""
    at = 0
    for number in range(store.counters[USED]):
        slot = store.slots[number]
        if slot.partition == NONE:
            continue
        for i in range(slot.key_length):
            arena[at + i] = store.arena[slot.key_start + i]
        slot.key_start = at
        at += slot.key_length
    store.counters[USED_BYTES] = at
    store.counters[DEAD_BYTES] = 0
