"""Ranges of batches, and batches end to end: views and copies of whole arrays, never a record at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Batch, Blobs

__all__ = ["cut", "joined", "runs", "with_gaps"]


def runs(batch: Batch) -> Iterator[tuple[int, int, int]]:
    """Partition, first row and row behind the last of each stretch of rows of one partition."""
    starts = np.flatnonzero(np.diff(batch.partition, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(batch)], strict=True):
        yield int(batch.partition[start]), start, stop


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """Rows ``start`` to ``stop``, without headers."""
    values, keys = _cut(batch.values, start, stop), _cut(batch.keys, start, stop)
    return Batch(
        values.data,
        values.ends,
        values.null,
        batch.partition[start:stop],
        batch.offset[start:stop],
        batch.timestamp_ms[start:stop],
        keys,
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches end to end, without headers; there is one at least."""
    if len(batches) == 1:
        return batches[0]
    values = _joined([batch.values for batch in batches])
    return Batch(
        values.data,
        values.ends,
        values.null,
        np.concatenate([batch.partition for batch in batches]),
        np.concatenate([batch.offset for batch in batches]),
        np.concatenate([batch.timestamp_ms for batch in batches]),
        _joined([batch.keys for batch in batches]),
    )


def with_gaps(
    batch: Batch, at: NDArray[np.int64], partition: NDArray[np.int32], offset: NDArray[np.int64]
) -> Batch:
    """The rows where ``at`` (n, -1 elsewhere) says, and null records without a key in between.

    ``partition`` and ``offset`` are those of all n rows.
    """
    there = at >= 0
    timestamp_ms = np.full(len(at), -1, np.int64)
    timestamp_ms[there] = batch.timestamp_ms
    values, keys = _spread(batch.values, there), _spread(batch.keys, there)
    return Batch(values.data, values.ends, values.null, partition, offset, timestamp_ms, keys)


def _cut(blobs: Blobs, start: int, stop: int) -> Blobs:
    first = int(blobs.ends[start - 1]) if start else 0
    last = int(blobs.ends[stop - 1]) if stop else 0
    return Blobs(blobs.data[first:last], blobs.ends[start:stop] - first, blobs.null[start:stop])


def _joined(parts: Sequence[Blobs]) -> Blobs:
    base = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
    return Blobs(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.ends + first for part, first in zip(parts, base, strict=True)]),
        np.concatenate([part.null for part in parts]),
    )


def _spread(blobs: Blobs, there: NDArray[np.bool_]) -> Blobs:
    length = np.zeros(len(there), np.int64)
    length[there] = np.diff(blobs.ends, prepend=0)
    null = np.ones(len(there), np.bool_)
    null[there] = blobs.null
    return Blobs(blobs.data, np.cumsum(length), null)
