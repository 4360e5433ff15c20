"""What the broker checks of a transactional offset commit, checked here first.

``Consumer.consumer_group_metadata()`` returns bytes: ``CGMDv2:``, the generation (int32, native order), then group,
member and instance, each ended by a zero byte. Before the group is joined, and always for a consumer that uses
``assign()``, the generation is -1 and the member empty, and a broker takes exactly that for "no check wanted": a
zombie could commit. So such metadata never reaches a transaction.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Membership", "NotAMember"]

_MAGIC = b"CGMDv2:"


class NotAMember(Exception):  # noqa: N818 - it names a state, and its catcher acts on that state
    """There is no live membership to commit under."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A live membership: ``metadata`` is what the client takes, the rest is what it says."""

    metadata: bytes
    group: str
    member: str
    generation: int

    @classmethod
    def parse(cls, metadata: bytes, group: str) -> Membership:
        """Read the client's bytes. Raises NotAMember where a broker would skip its check."""
        body = metadata.removeprefix(_MAGIC)
        if len(body) == len(metadata) or len(body) < 4:
            raise NotAMember(f"group metadata of an unknown form: {metadata[:16]!r}")
        (generation,) = struct.unpack_from("=i", body)
        found, _, rest = body[4:].partition(b"\0")
        member = rest.partition(b"\0")[0]
        if generation < 0 or not member:
            raise NotAMember(f"not a member of {group!r} now (generation {generation})")
        if found.decode(errors="replace") != group:
            raise NotAMember(f"metadata is of group {found.decode(errors='replace')!r}, not {group!r}")
        return cls(metadata, group, member.decode(errors="replace"), generation)
