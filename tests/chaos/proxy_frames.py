"""Kafka requests as a proxy sees them: enough of the wire format to know what a frame is and whose.

A frame is its length (int32) and so many bytes. A request begins with api_key int16, api_version int16, correlation_id
int32, client_id nullable string; a response with the correlation id. From a "flexible" version on, the header ends with
tagged fields and strings are compact (length + 1 as a varint). The requests of a transaction all begin with their
transactional id (https://kafka.apache.org/protocol).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Api", "FrameError", "Request", "correlation_of"]

_HEADER = struct.Struct(">hhi")
_LENGTH = struct.Struct(">h")
_CORRELATION = struct.Struct(">i")
_PRODUCER = struct.Struct(">qhB")  # EndTxn, after the transactional id: producer id, epoch, committed


class FrameError(ValueError):
    """Bytes that are no frame of the protocol."""


class Api(IntEnum):
    """Requests by their number in the protocol; those that clients of this project send."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    CONSUMER_GROUP_HEARTBEAT = 68


_KNOWN = frozenset(Api)

_FLEXIBLE_FROM = {
    Api.PRODUCE: 9,
    Api.INIT_PRODUCER_ID: 2,
    Api.ADD_PARTITIONS_TO_TXN: 3,
    Api.ADD_OFFSETS_TO_TXN: 3,
    Api.END_TXN: 3,
    Api.TXN_OFFSET_COMMIT: 3,
}
"""The requests that begin with a transactional id, and the version from which that is a compact string."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request frame, without its length. ``api`` is a plain number where the Api is not known here."""

    api: int
    version: int
    correlation: int
    client_id: str | None
    transactional_id: str | None
    committed: bool | None
    """EndTxn: whether it commits (True) or aborts (False); None for all others."""
    frame: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Request:
        """Read a request. Raises FrameError."""
        try:
            api, version, correlation = _HEADER.unpack_from(frame)
            client_id, at = _string(frame, _HEADER.size)
            transactional_id, committed = None, None
            if api in _FLEXIBLE_FROM:
                flexible = version >= _FLEXIBLE_FROM[Api(api)]
                at = _skip_tags(frame, at) if flexible else at
                transactional_id, at = (_compact_string if flexible else _string)(frame, at)
            if api == Api.END_TXN:
                committed = bool(_PRODUCER.unpack_from(frame, at)[2])
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise FrameError(f"no request: {frame[:32]!r}") from error
        return cls(api, version, correlation, client_id, transactional_id, committed, frame)

    @property
    def name(self) -> str:
        """The name of the API, or its number."""
        return Api(self.api).name if self.api in _KNOWN else str(self.api)


def correlation_of(response: bytes) -> int:
    """The number of the request that this response answers. Raises FrameError."""
    try:
        return int(_CORRELATION.unpack_from(response)[0])
    except struct.error as error:
        raise FrameError(f"no response: {response[:32]!r}") from error


def _string(frame: bytes, at: int) -> tuple[str | None, int]:
    (length,) = _LENGTH.unpack_from(frame, at)
    return _text(frame, at + _LENGTH.size, length)


def _compact_string(frame: bytes, at: int) -> tuple[str | None, int]:
    length, at = _varint(frame, at)
    return _text(frame, at, length - 1)


def _text(frame: bytes, at: int, length: int) -> tuple[str | None, int]:
    if length < 0:
        return None, at
    if at + length > len(frame):
        raise IndexError
    return frame[at : at + length].decode(), at + length


def _skip_tags(frame: bytes, at: int) -> int:
    count, at = _varint(frame, at)
    for _ in range(count):
        _, at = _varint(frame, at)
        size, at = _varint(frame, at)
        at += size
    return at


def _varint(frame: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise IndexError
