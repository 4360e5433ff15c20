"""KeyIndex: which slot an entity of a partition has."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.kernel import given
from stream_infer.records import Text
from stream_infer.windows import index_kernels as kernels
from stream_infer.windows.index_kernels import DEAD_BYTES, HELD, USED, USED_BYTES, Store
from stream_infer.windows.layout import NONE, SLOT
from stream_infer.windows.memory import reserved

__all__ = ["KeyIndex"]

_COMPACT_BYTES = 1 << 16
_LEAST_BYTES = 1024


class KeyIndex:
    """An open-addressing hash from (partition, key) to a slot number, with the slots it hands out.

    Slot numbers are dense; freed ones are used again. The seed of the hash is random, so that nobody can send keys that
    collide. ``capacity`` bounds the keys. ``names`` says which profile a new key gets: its number there, or
    ``len(names)``; it may be replaced.
    """

    def __init__(self, capacity: int, names: KeyIndex | None = None) -> None:
        self.names = self if names is None else names
        self.store = Store(
            buckets=np.zeros(128, np.int64),
            slots=reserved(capacity, (), SLOT),
            arena=np.zeros(_LEAST_BYTES, np.uint8),
            counters=np.array([NONE, 0, 0, 0, 0], np.int64),
            seed=np.frombuffer(bytearray(secrets.token_bytes(16)), np.uint64),
        )

    @classmethod
    def of(cls, names: Sequence[bytes]) -> KeyIndex:
        """An index of distinct names, each with its place in the sequence as slot number (partition 0)."""
        index = cls(max(len(names), 1))
        if names:
            index.locate(np.zeros(len(names), np.int32), Text.of(names))
        return index

    @classmethod
    def warm_up(cls) -> None:
        """Compile the kernels, or read them from numba's disk cache, on an index of no use."""
        names = [b"%01000d" % i for i in range(200)]  # enough to make it grow, and to pack its keys again
        index = cls(len(names))
        numbers = index.locate(np.zeros(len(names), np.int32), Text.of(names))
        index.idle(0, 0, 1, 0, 0)
        index.of_partition(0)
        index.release(numbers)

    def __len__(self) -> int:
        return int(self.store.counters[HELD])

    @property
    def slots(self) -> NDArray[np.void]:
        """All slots (SLOT records), free ones included."""
        return self.store.slots

    @property
    def bytes_count(self) -> int:
        """Memory of buckets, slots and keys."""
        return self.store.buckets.nbytes + self.used * SLOT.itemsize + self.store.arena.nbytes

    def find(self, partition: NDArray[np.int32], key: Text) -> NDArray[np.int64]:
        """The slot of each key, NONE for keys not held."""
        return self._find(given(partition, np.int32), _given(key))[0]

    def locate(self, partition: NDArray[np.int32], key: Text) -> NDArray[np.int64]:
        """The slot of each key; a key not held gets one."""
        return self.take(partition, key)[0]

    def take(
        self, partition: NDArray[np.int32], key: Text
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """The slot of each key; a key not held gets one. The second result has the slots so taken, None for none."""
        partition, key = given(partition, np.int32), _given(key)
        found, missing = self._find(partition, key)
        if not missing:
            return found, None
        new = found == NONE
        self._reserve(missing, int(key.length[new].sum()))
        names, fleet = self.names.store, len(self.names)
        kernels.insert(self.store, names, fleet, partition, key.data, key.start, key.length, found)
        return found, np.unique(found[new])

    def release(self, numbers: NDArray[np.int64]) -> None:
        """Forget the keys of these slots."""
        kernels.release(self.store, given(self.store.arena, np.uint8), numbers)
        used, dead = self.store.counters[USED_BYTES], self.store.counters[DEAD_BYTES]
        if dead > _COMPACT_BYTES and 2 * dead > used:
            arena = np.zeros(max(used - dead, _LEAST_BYTES), np.uint8)
            kernels.repack(self.store, arena)
            self.store = self.store._replace(arena=arena)

    def of_partition(self, partition: int) -> NDArray[np.int64]:
        """The slots a partition holds."""
        numbers = np.empty(len(self), np.int64)
        return numbers[: kernels.slots_of(self.store, partition, numbers)]

    def idle(
        self, partition: int, at: int, limit: int, idle_before_ms: int, as_of_bound: int
    ) -> NDArray[np.int64]:
        """Idle slots of a partition among the next ``limit`` slots after number ``at``, wrapping around."""
        numbers = np.empty(min(limit, self.used), np.int64)
        n = kernels.sweep(self.store, partition, at, idle_before_ms, as_of_bound, numbers)
        return numbers[:n]

    @property
    def used(self) -> int:
        """Slots ever taken: every held one has a number below this."""
        return int(self.store.counters[USED])

    def keys(self, numbers: NDArray[np.int64]) -> Text:
        """The keys of held slots, over the index's own bytes: copy them before the next change."""
        slots = self.store.slots
        return Text(self.store.arena, slots["key_start"][numbers], slots["key_length"][numbers])

    def _find(self, partition: NDArray[np.int32], key: Text) -> tuple[NDArray[np.int64], int]:
        found = np.empty(len(key), np.int64)
        scratch = np.empty((2, len(key)), np.int64)
        missing = kernels.find(self.store, partition, key.data, key.start, key.length, scratch, found)
        return found, missing

    def _reserve(self, key_count: int, bytes_count: int) -> None:
        counters = self.store.counters
        if len(self) + key_count > len(self.store.slots):
            raise MemoryError(f"{len(self) + key_count} entities are more than this machine has memory for")
        arena_size = int(counters[USED_BYTES]) + bytes_count
        if arena_size > len(self.store.arena):
            arena = reserved(arena_size + arena_size // 4, (), np.dtype(np.uint8))
            if len(arena) < arena_size:
                raise MemoryError(f"no address space for {arena_size} bytes of entity names")
            arena[: len(self.store.arena)] = self.store.arena
            self.store = self.store._replace(arena=arena)
        size = len(self.store.buckets)
        while size < 4 * (len(self) + key_count):
            size *= 2
        if size > len(self.store.buckets):
            buckets = np.zeros(size, np.int64)
            kernels.rebuild(self.store.buckets, buckets)
            self.store = self.store._replace(buckets=buckets)


def _given(text: Text) -> Text:
    return Text(given(text.data, np.uint8), given(text.start, np.int64), given(text.length, np.int32))
