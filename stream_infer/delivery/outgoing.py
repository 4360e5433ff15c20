"""What a publisher hands to an outbox: many records for one topic, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Blobs, HeaderColumn, Headers

__all__ = ["Outgoing"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """m records, each with a value and a ``partition`` (int32, m).

    Key and headers of record i are those of row ``rows[i]`` (int64, m) of ``keys`` and ``headers``; of the headers only
    those named in ``passed`` (lower-case) are written, None: all.
    """

    values: Blobs
    partition: NDArray[np.int32]
    rows: NDArray[np.int64]
    keys: Blobs
    headers: HeaderColumn | None = None
    passed: frozenset[bytes] | None = None

    def __len__(self) -> int:
        return len(self.partition)

    @classmethod
    def of(
        cls,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        partitions: Sequence[int],
        headers: Sequence[Headers],
    ) -> Self:
        """From lists of what each record has."""
        return cls(
            Blobs.of(values),
            np.array(partitions, np.int32),
            np.arange(len(values)),
            Blobs.of(keys),
            HeaderColumn.of(headers) if any(headers) else None,
        )

    def keys_of(self) -> list[bytes | None]:
        """The keys, one by one."""
        every = list(self.keys)
        return every if len(self.rows) == len(every) else [every[row] for row in self.rows.tolist()]

    def headers_of(self) -> list[list[tuple[str, bytes | None]]] | None:
        """The headers to write, one by one, None where there are none at all."""
        headers, passed = self.headers, self.passed
        if headers is None:
            return None
        entries = list(zip(map(_text, headers.names), headers.values, strict=True))
        ends = headers.ends.tolist()
        starts = [0, *ends]
        lists = [entries[starts[row] : ends[row]] for row in self.rows.tolist()]
        if passed is None:
            return lists
        return [[entry for entry in entries if entry[0].encode().lower() in passed] for entries in lists]


@lru_cache(maxsize=1024)
def _text(name: bytes | None) -> str:
    """A header's name; most records have the same."""
    return (name or b"").decode("utf-8", "replace")
