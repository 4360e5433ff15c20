"""What is kept of one entity, in memory and in the state topic. The only place that says where things lie.

In memory an entity has a *slot* (64 bytes, one cache line) and a *row* of float32 with the slot's number:

    row      ring                 smoothed     running                                  usual
             R x F                T x F        5 x F                                    1 + T x F
             standardised rows    EWMA of e    mean, mean's rest, sd, least, greatest   rows, usual errors

    ring     R = max(W - 1, 1); row number c of the entity (from 0) lies at c mod R, so the oldest is next to
             be written over. The entity's first row fills the whole ring: that is the padding of its window.
    smoothed NaN until the entity has had one finite error.
    running  statistics of the raw features, only kept of entities that training never saw. The mean is the sum of two
             float32, for a rate of 1/10000 would vanish in one.
    usual    root mean square of such an entity's errors, and how many rows it is made of, counted to 10,000; with 0
             the rest is not used.

In the state topic an entity is one record, key ``b"e"`` + entity, little-endian value:

    0   u8   version of this format
    1   u8   kind: 0 known to training (row without running and usual), 2 not known (whole row),
             1 not known, written before usual was kept (row without it): read still, it is learnt anew
    2   u16  zero
    4   u32  fingerprint of the layout
    8   i64  as_of: every row of the partition below this offset is in the state
    16  i64  newest time of the entity, epoch ms
    24  i64  rows the entity has had
    32  i32  calm rows that the alert still wants, 0 without an alert
    36  f32  the row
    -4  u32  CRC-32 of all that is before it

Nothing is rounded on the way, so scores after a restore are equal to the last bit.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from stream_infer.errors import ModelError

__all__ = ["NONE", "RUNNING", "SLOT", "STATE_KEY_PREFIX", "TOP", "Layout"]

TOP = 3
"""How many contributing features an anomaly names."""

RUNNING = 5
"""Running statistics per feature."""

NONE = -1
"""No slot, no offset, no feature."""

STATE_KEY_PREFIX = b"e"
"""First byte of the key of every entity's state record."""

SLOT = np.dtype(
    [
        ("key_start", np.int64),  # entity bytes in the arena
        ("last_time_ms", np.int64),  # newest time
        ("as_of", np.int64),  # rows below this offset are in the state (of the last flush or load)
        ("dirty_since", np.int64),  # offset of the first row since then, NONE while clean
        ("count", np.int64),  # rows the entity has had
        ("key_length", np.int32),
        ("partition", np.int32),  # NONE while the slot is free
        ("profile", np.int32),  # row of Profiles
        ("next", np.int32),  # the slot behind this one in its partition's dirty queue, or in the free list
        ("alert", np.int32),  # calm rows that its alert still wants, 0 without an alert
        ("unused", np.int32),  # fills the cache line
    ],
    align=True,
)
"""One entity's slot."""


@dataclass(frozen=True)
class Layout:
    """The shape of windows, errors and state that a model's manifest asks for.

    ``window`` W: rows a window holds, the newest included. ``features`` F. ``terms`` T: errors the model gives
    per feature. ``smoothing``: EWMA rate per term, 1.0 for none. ``clip``: bound per term of the squared error.
    ``missing``: what happens to a row that lacks a feature; ``impute`` takes the entity's previous value, its centre
    where there is none. ``release_ratio`` and ``release_rows`` end an alert (alert_kernel). Raises ModelError for a
    layout that cannot be.
    """

    window: int
    features: int
    terms: int
    smoothing: tuple[float, ...]
    clip: tuple[float, ...]
    missing: Literal["impute", "reject"] = "impute"
    release_ratio: float = 0.7
    release_rows: int = 10

    def __post_init__(self) -> None:
        if min(self.window, self.features, self.terms) < 1:
            raise ModelError("window, features and terms must each be at least 1; train the model again")
        if not len(self.smoothing) == len(self.clip) == self.terms:
            raise ModelError(f"smoothing and clip must have {self.terms} values, one per term")
        if not all(0 < rate <= 1 for rate in self.smoothing) or not all(
            0 < bound <= 1e30 for bound in self.clip
        ):
            raise ModelError("smoothing must lie in (0, 1] and clip in (0, 1e30]")
        if self.missing not in {"impute", "reject"}:
            raise ModelError(f"missing must be 'impute' or 'reject', not {self.missing!r}")
        if not (0 < self.release_ratio <= 1 and 1 <= self.release_rows <= 1_000_000):
            raise ModelError("release_ratio must lie in (0, 1] and release_rows in 1 to 1,000,000")

    @cached_property
    def fingerprint(self) -> int:
        """Equal for equal layouts (uint32); a state record of another one is not read."""
        numbers = (self.window, self.features, self.terms, *self.smoothing, *self.clip)
        return zlib.crc32(struct.pack(f"<{len(numbers)}d", *numbers) + self.missing.encode())

    @property
    def ring_rows(self) -> int:
        """R: standardised rows kept of an entity."""
        return max(self.window - 1, 1)

    @property
    def smoothed_at(self) -> int:
        """Where in a row the smoothed errors begin."""
        return self.ring_rows * self.features

    @property
    def running_at(self) -> int:
        """Where in a row the running statistics begin."""
        return self.smoothed_at + self.terms * self.features

    @property
    def usual_at(self) -> int:
        """Where in a row the usual errors begin, the count of their rows first."""
        return self.running_at + RUNNING * self.features

    @property
    def row_length(self) -> int:
        """Float32 values of a whole row."""
        return self.usual_at + 1 + self.terms * self.features
