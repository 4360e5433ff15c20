"""Messages of librdkafka -> the columns of a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_infer.delivery.native.library import Calls
from stream_infer.delivery.native.take_kernel import (
    RecordColumns,
    copy_headers,
    copy_records,
    measure,
    measure_headers,
)
from stream_infer.records import Batch, Blobs, HeaderColumn

__all__ = ["Reader", "Sizes"]


class Sizes(NamedTuple):
    """Of n messages: where values and keys will end, how many headers each has (int64), and its error (int32)."""

    ends: NDArray[np.int64]
    key_ends: NDArray[np.int64]
    headers: NDArray[np.int64]
    error: NDArray[np.int32]


class Reader:
    """Copies what messages hold; ``messages`` (int64, n) are their addresses, and remain the caller's."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._scratch = np.zeros(4, np.int64)

    def measure(self, messages: NDArray[np.int64]) -> Sizes:
        """How much they hold; one with an error holds nothing."""
        count = len(messages)
        ends, key_ends, headers = np.empty((3, count), np.int64)
        sizes = Sizes(ends, key_ends, headers, np.empty(count, np.int32))
        measure(self._calls, messages, ends, key_ends, sizes.error, headers, self._scratch)
        return sizes

    def read(self, messages: NDArray[np.int64], sizes: Sizes) -> Batch:
        """Copy records; ``sizes`` may be those of more messages, of which these are the first."""
        count = len(messages)
        ends, key_ends = sizes.ends[:count], sizes.key_ends[:count]
        null, key_null = np.empty((2, count), np.bool_)
        partition, (offset, timestamp_ms) = np.empty(count, np.int32), np.empty((2, count), np.int64)
        payload, keys = np.empty(ends[-1], np.uint8), np.empty(key_ends[-1], np.uint8)
        columns = RecordColumns(
            payload, ends, null, keys, key_ends, key_null, partition, offset, timestamp_ms
        )
        copy_records(self._calls, messages, columns)
        headers = sizes.headers[:count]
        return Batch(
            payload,
            ends,
            null,
            partition,
            offset,
            timestamp_ms,
            Blobs(keys, key_ends, key_null),
            self.headers(messages, np.cumsum(headers)) if headers.any() else None,
        )

    def headers(self, messages: NDArray[np.int64], ends: NDArray[np.int64]) -> HeaderColumn:
        """Copy headers; ``ends`` says where those of each message end among all."""
        calls, count = self._calls, ends[-1]
        name_ends, value_ends = np.empty((2, count), np.int64)
        null = np.empty(count, np.bool_)
        measure_headers(calls, messages, ends, name_ends, value_ends, null, self._scratch)
        names, values = np.empty(name_ends[-1], np.uint8), np.empty(value_ends[-1], np.uint8)
        copy_headers(calls, messages, ends, names, name_ends, values, value_ends, self._scratch)
        whole = Blobs(names, name_ends, np.zeros(count, np.bool_))
        return HeaderColumn(ends, whole, Blobs(values, value_ends, null))
