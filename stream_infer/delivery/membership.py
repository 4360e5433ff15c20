"""What the broker checks of a transactional offset commit, checked here first, and what it does not check.

``Consumer.consumer_group_metadata()`` returns bytes: ``CGMDv2:``, the generation (int32, native order), then group,
member and instance, each ended by a zero byte. Before the group is joined, and always for a consumer that uses
``assign()``, the generation is -1 and the member empty, and a broker takes exactly that for "no check wanted": a
zombie could commit. So such metadata never reaches a transaction.

Nor does a broker check whose a partition is. A process that was expelled joins again as another member. What it held
before may be another's by then, who has committed more; but where this happens within a rebalance, the client revokes
it as if it had been ours until now, under the new membership (librdkafka #5604). Only the member's id tells: it is new.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Assigned", "Membership", "NotAMember"]

Place = TypeVar("Place", bound=Hashable)

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


class Assigned(dict[Place, str]):
    """What is assigned to a process, each with the member that it was assigned to.

    A place is whatever names a partition. The consumer is given to each call, since it is replaced now and then.
    """

    def add(self, consumer: Any, places: Iterable[Place]) -> None:
        """These are assigned by now."""
        self.update(dict.fromkeys(places, _member_of(consumer)))

    def remove(self, places: Iterable[Place]) -> None:
        """These are not any more."""
        for place in places:
            self.pop(place, None)

    def lost(self, consumer: Any, places: Iterable[Place]) -> bool:
        """Whether some of these were assigned to another member than the process is now."""
        member = _member_of(consumer)
        return any(self.get(place, member) != member for place in places)

    def membership(self, consumer: Any, group: str) -> Membership:
        """The membership to commit under. Raises NotAMember where there is none, or something assigned may be lost."""
        found = Membership.parse(consumer.consumer_group_metadata(), group)
        if others := set(self.values()) - {found.member}:
            raise NotAMember(
                f"a new member of {group!r}: what {', '.join(map(repr, others))} had may be lost"
            )
        return found


def _member_of(consumer: Any) -> str:
    return consumer.memberid() or ""
