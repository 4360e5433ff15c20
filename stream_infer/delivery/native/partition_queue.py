"""One queue for the records of all partitions, and the columns made of what comes out of it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.native.handle import handle_of
from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.message import LENGTH, PARTITION, PAYLOAD
from stream_infer.delivery.native.reader import Reader
from stream_infer.delivery.native.take_kernel import destroy, receive
from stream_infer.records import Batch

__all__ = ["PartitionQueue", "Trouble"]

Trouble = tuple[int, str]
"""What came in the place of a record: librdkafka's code of an error, and its text."""


class PartitionQueue:
    """Records of one consumer's partitions, taken past confluent-kafka.

    librdkafka puts the records of a partition into a queue of its own and forwards it to the consumer's queue, where
    they lie among what needs confluent-kafka's callbacks. Here the partitions are forwarded to a queue without such, so
    that compiled code can empty it. ``Consumer.poll`` must be called all the same: it serves the rest.
    """

    def __init__(self, library: Library, consumer: Any, topic: str, events_max: int) -> None:
        self._library = library
        self._topic = topic.encode()
        self._client = handle_of(library, consumer)
        self._queue = library.functions.queue_new(self._client)
        self._partitions: dict[int, int] = {}
        self._messages = np.zeros(events_max, np.int64)
        self._first = self._end = 0
        self._reader = Reader(library.calls)

    def forward(self, partitions: Iterable[int]) -> None:
        """Records of these partitions come here from now on. To be called when they were just assigned."""
        functions = self._library.functions
        for number in partitions:
            if number not in self._partitions:
                queue = functions.queue_get_partition(self._client, self._topic, number)
                functions.queue_forward(queue, self._queue)
                self._partitions[number] = queue

    def release(self, partitions: Iterable[int]) -> None:
        """They come here no longer; those that already did may still come out and must be told by their offsets."""
        functions = self._library.functions
        for number in partitions:
            queue = self._partitions.pop(number, None)
            if queue is not None:
                functions.queue_forward(queue, None)
                functions.queue_destroy(queue)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget what was received of these partitions and not taken yet."""
        held = [ctypes.c_int32.from_address(m + PARTITION).value for m in self._held().tolist()]
        if held:
            self._keep(~np.isin(held, list(partitions)))

    def take(self, wait_s: float, linger_s: float, bytes_max: int) -> tuple[Batch | None, list[Trouble]]:
        """What is there, up to the most events and a size; ``wait_s`` is for the first, ``linger_s`` for the others."""
        if self._first == self._end:
            self._first = 0
            waits_ms = round(wait_s * 1000), round(linger_s * 1000)
            self._end = receive(self._library.calls, self._queue, waits_ms, self._messages)
        troubles: list[Trouble] = []
        while len(held := self._held()):
            sizes = self._reader.measure(held)
            if sizes.error.any():
                troubles += map(_trouble, held[sizes.error != 0].tolist())
                self._keep(sizes.error == 0)
                continue
            count = max(1, int(np.searchsorted(sizes.ends, bytes_max, side="right")))
            batch = self._reader.read(held[:count], sizes)
            destroy(self._library.calls, held[:count])
            self._first += count
            return batch, troubles
        return None, troubles

    @property
    def forwarded_count(self) -> int:
        """Partitions whose records come here."""
        return len(self._partitions)

    @property
    def held_count(self) -> int:
        """Records received and not taken: a batch was cut by its size."""
        return self._end - self._first

    def close(self) -> None:
        """Let go of everything. To be called before the consumer is closed, which would wait for it."""
        self.release(list(self._partitions))
        self._keep(np.zeros(self.held_count, np.bool_))
        self._library.functions.queue_destroy(self._queue)

    def _held(self) -> NDArray[np.int64]:
        return self._messages[self._first : self._end]

    def _keep(self, wanted: NDArray[np.bool_]) -> None:
        held = self._held()
        destroy(self._library.calls, held[~wanted])
        kept = held[wanted]
        self._first, self._end = 0, len(kept)
        self._messages[: len(kept)] = kept


def _trouble(message: int) -> Trouble:
    code = ctypes.c_int32.from_address(message).value
    text = ctypes.c_void_p.from_address(message + PAYLOAD).value
    length = ctypes.c_size_t.from_address(message + LENGTH).value
    return code, ctypes.string_at(text, length).decode("utf-8", "replace") if text else ""
