"""The proxy knows what passes it: the codec against the protocol's own description, and against arbitrary bytes."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.proxy_frames import Api, FrameError, Request, correlation_of
from tests.chaos.proxy_rules import Match

TEXT = st.text(max_size=40)
INT32 = st.integers(-(2**31), 2**31 - 1)


def string(text: str | None) -> bytes:
    raw = None if text is None else text.encode()
    return struct.pack(">h", -1) if raw is None else struct.pack(">h", len(raw)) + raw


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def compact(text: str | None) -> bytes:
    raw = None if text is None else text.encode()
    return varint(0) if raw is None else varint(len(raw) + 1) + raw


def tags(fields: dict[int, bytes]) -> bytes:
    return varint(len(fields)) + b"".join(varint(k) + varint(len(v)) + v for k, v in fields.items())


def header(api: int, version: int, correlation: int, client: str | None) -> bytes:
    return struct.pack(">hhi", api, version, correlation) + string(client)


@given(st.sampled_from(sorted(Api)), st.integers(0, 20), INT32, st.none() | TEXT, st.binary(max_size=60))
def test_every_header_is_read(
    api: Api, version: int, correlation: int, client: str | None, rest: bytes
) -> None:
    frame = header(api, version, correlation, client) + rest
    try:
        request = Request.parse(frame)
    except FrameError:
        assert api in {*range(Api.INIT_PRODUCER_ID, Api.TXN_OFFSET_COMMIT + 1), Api.PRODUCE}
        return
    assert (request.api, request.version, request.correlation) == (api, version, correlation)
    assert request.client_id == client
    assert request.frame == frame
    assert request.name == api.name


@given(TEXT, st.integers(0, 2**62), st.integers(0, 30_000), st.booleans(), st.integers(0, 5))
def test_end_txn_says_whose_and_which_way(
    name: str, producer: int, epoch: int, commit: bool, version: int
) -> None:
    flexible = version >= 3
    body = tags({0: b"x" * 300, 5: b""}) + compact(name) if flexible else string(name)
    body += struct.pack(">qhB", producer, epoch, commit) + (tags({}) if flexible else b"")
    request = Request.parse(header(Api.END_TXN, version, 1, "c") + body)

    assert request.transactional_id == name
    assert request.committed is commit


@pytest.mark.parametrize(
    ("api", "flexible_from"),
    [
        (Api.PRODUCE, 9),
        (Api.INIT_PRODUCER_ID, 2),
        (Api.ADD_PARTITIONS_TO_TXN, 3),
        (Api.ADD_OFFSETS_TO_TXN, 3),
        (Api.TXN_OFFSET_COMMIT, 3),
    ],
)
@pytest.mark.parametrize("name", ["app-0", None, "ü" * 100])
def test_requests_of_a_transaction_say_whose(api: Api, flexible_from: int, name: str | None) -> None:
    old = header(api, flexible_from - 1, 7, None) + string(name) + b"rest"
    new = header(api, flexible_from, 7, None) + tags({}) + compact(name) + b"rest"

    assert Request.parse(old).transactional_id == name
    assert Request.parse(new).transactional_id == name
    assert Request.parse(new).committed is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_request_or_a_frame_error(frame: bytes) -> None:
    with suppress(FrameError):
        assert Request.parse(frame).frame == frame
    if len(frame) < 4:
        with pytest.raises(FrameError):
            correlation_of(frame)
    else:
        assert correlation_of(frame) == int.from_bytes(frame[:4], "big", signed=True)


def test_a_match_asks_for_everything_it_names() -> None:
    body = string("app-1") + struct.pack(">qhB", 4, 0, 1)
    request = Request.parse(header(Api.END_TXN, 1, 1, "slot-1") + body)

    assert Match()(request, 1)
    assert Match((Api.END_TXN,), 1, "slot-", "app-", committed=True)(request, 1)
    assert not Match((Api.END_TXN,))(Request.parse(header(Api.FETCH, 1, 1, None)), 1)
    assert not Match(node=2)(request, 1)
    assert not Match(client="slot-2")(request, 1)
    assert not Match(transactional_id="app-2")(request, 1)
    assert not Match(committed=False)(request, 1)
