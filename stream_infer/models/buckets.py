"""Sizes in which batches go to a GPU: powers of two, so that what is prepared for a shape serves again."""

from __future__ import annotations

__all__ = ["bucket_of", "buckets_to", "part_of"]

_PARTS = 4
_PART_MIN = 256


def bucket_of(count: int) -> int:
    """The smallest power of two that is not less than ``count``."""
    return 1 << max(0, count - 1).bit_length()


def buckets_to(most: int) -> tuple[int, ...]:
    """All buckets up to ``most``, a bucket itself."""
    return tuple(1 << power for power in range(most.bit_length()))


def part_of(batch_max: int) -> int:
    """The bucket in which batches of up to ``batch_max`` go to a GPU part by part.

    A quarter of the largest, so that copies have a neighbour to overlap with; not so small that a launch costs more.
    """
    whole = bucket_of(batch_max)
    return min(whole, max(whole // _PARTS, _PART_MIN))
