"""The section of what to do about records that kill the process."""

from __future__ import annotations

from pydantic import Field

from stream_infer.config.kafka import Section

__all__ = ["Quarantine"]


class Quarantine(Section):
    """Records that kill the process that works on them (docs/operations.md)."""

    deaths: int = Field(default=2, ge=1, le=100)
    """After so many workers in a row that took a partition and died before their first commit of it, its next records
    are first tried in a process of their own, and those that kill it are rejected."""
    timeout_s: float = Field(default=10.0, gt=0, le=600)
    """A trial without progress for so long is ended, as if the record had killed it."""
    memory_bytes: int = Field(default=1_073_741_824, ge=16_777_216)
    """A trial that takes so much more memory than the process began with is ended, as if the record had killed it."""
