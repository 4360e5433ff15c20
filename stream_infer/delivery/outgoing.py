"""What a publisher hands to an outbox: many records for one topic, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.records import Blobs, HeaderColumn

__all__ = ["Outgoing"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """m records: values end to end in ``payload`` with their ``ends`` (int64, m), each to its ``partition`` (int32, m).

    Key and headers of record i are those of row ``rows[i]`` (int64, m) of ``keys`` and ``headers``; of the headers only
    those in ``passed`` (lower-case names) are written.
    """

    payload: NDArray[np.uint8]
    ends: NDArray[np.int64]
    partition: NDArray[np.int32]
    rows: NDArray[np.int64]
    keys: Blobs
    headers: HeaderColumn | None = None
    passed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.ends)

    def values(self) -> list[bytes]:
        """The values, one by one."""
        payload, ends = self.payload.tobytes(), self.ends.tolist()
        return list(map(payload.__getitem__, map(slice, [0, *ends[:-1]], ends)))

    def keys_of(self) -> list[bytes | None]:
        """The keys, one by one."""
        every = list(self.keys)
        return every if len(self.rows) == len(every) else [every[row] for row in self.rows.tolist()]

    def headers_of(self) -> list[list[tuple[str, Any]] | None] | None:
        """The headers to write, one by one, None where there are none at all."""
        headers = self.headers
        if headers is None:
            return None
        return [
            [(name, value) for name, value in headers[row] if name.lower() in self.passed] or None
            for row in self.rows.tolist()
        ]
