"""Metadata a broker would not check never reaches a transaction."""

import struct

import pytest
from confluent_kafka import Consumer
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.delivery.membership import Assigned, Membership, NotAMember


def metadata(generation: int, group: str, member: str, instance: str = "") -> bytes:
    return (
        b"CGMDv2:" + struct.pack("=i", generation) + b"\0".join(x.encode() for x in (group, member, instance))
    )


def test_a_live_membership_is_read() -> None:
    found = Membership.parse(metadata(7, "smd", "smd-1-uuid"), "smd")

    assert (found.group, found.member, found.generation) == ("smd", "smd-1-uuid", 7)


@pytest.mark.parametrize(
    "raw",
    [
        metadata(-1, "smd", "m"),
        metadata(3, "smd", ""),
        metadata(3, "other", "m"),
        b"CGMDv2:\0",
        b"CGMDv9:" + metadata(3, "smd", "m")[7:],
        b"",
    ],
    ids=["no generation", "no member", "other group", "cut", "unknown form", "empty"],
)
def test_what_is_no_live_membership_is_refused(raw: bytes) -> None:
    with pytest.raises(NotAMember):
        Membership.parse(raw, "smd")


def test_the_client_gives_unchecked_metadata_before_it_joined() -> None:
    """The trap itself: this is what the real client hands out, and what a broker takes without a check."""
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "smd", "log_level": 0})
    try:
        with pytest.raises(NotAMember, match="not a member"):
            Membership.parse(consumer.consumer_group_metadata(), "smd")
    finally:
        consumer.close()


class Member:
    """A consumer as far as its membership goes."""

    def __init__(self, member: str) -> None:
        self.member, self.generation = member, 1

    def memberid(self) -> str | None:
        return self.member or None

    def consumer_group_metadata(self) -> bytes:
        return metadata(self.generation, "smd", self.member)


def test_what_a_member_keeps_through_generations_is_its_own() -> None:
    consumer, assigned = Member("first"), Assigned[int]()
    assigned.add(consumer, [0, 1])
    consumer.generation = 5
    assigned.add(consumer, [2])

    assert assigned.membership(consumer, "smd").generation == 5
    assert not assigned.lost(consumer, [0, 2])


@pytest.mark.parametrize("expelled", ["", "second"], ids=["not back yet", "back as another"])
def test_what_another_member_was_assigned_may_be_lost(expelled: str) -> None:
    """A broker would take a commit of it: the membership is a live one."""
    consumer, assigned = Member("first"), Assigned[int]()
    assigned.add(consumer, [0, 1])
    consumer.member = expelled
    assigned.add(consumer, [2])

    assert assigned.lost(consumer, [1])
    assert not assigned.lost(consumer, [2])
    with pytest.raises(NotAMember):
        assigned.membership(consumer, "smd")
    consumer.member = "second"
    with pytest.raises(NotAMember, match="may be lost"):
        assigned.membership(consumer, "smd")
    assigned.remove([0, 1] if expelled else [0, 1, 2])
    assert assigned.membership(consumer, "smd").member == "second"


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_a_membership(raw: bytes) -> None:
    try:
        found = Membership.parse(b"CGMDv2:" + raw, "smd")
    except NotAMember:
        return
    assert found.generation >= 0
    assert found.member
