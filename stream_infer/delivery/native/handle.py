"""The ``rd_kafka_t`` of a confluent-kafka client: the first field behind the header that every Python object has."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.refusal import Refusal

__all__ = ["handle_of"]

_NAME_BYTES = 64
_KINDS = ("producer", "consumer")


def handle_of(library: Library, client: Any, client_id: str = "") -> int:
    """The address of a client's handle. Raises Refusal unless what lies there calls itself such a client.

    librdkafka names a client ``<client.id>#<kind>-<number>``; with ``client_id`` that is looked at too.
    """
    handle = ctypes.c_int64.from_address(id(client) + object.__basicsize__).value
    if not _readable(handle):
        raise Refusal("the client's handle is not where it is expected")
    kind = library.functions.type(handle)
    name = library.functions.name(handle)
    if kind not in (0, 1) or not _readable(name):
        raise Refusal("what lies where the client's handle is expected is none")
    found = ctypes.string_at(name, _NAME_BYTES).split(b"\0")[0].decode("utf-8", "replace")
    if not found.startswith(client_id) or f"#{_KINDS[kind]}-" not in found:
        raise Refusal(f"the client's handle belongs to {found!r}")
    return handle


def _readable(address: int | None) -> bool:
    """Whether memory can be read there; the kernel answers, so that a wrong address is no crash."""
    if not address or address < 0:
        return False
    reading, writing = os.pipe()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(
            libc.write(writing, ctypes.c_void_p(address), ctypes.c_size_t(_NAME_BYTES)) == _NAME_BYTES
        )
    finally:
        os.close(reading)
        os.close(writing)
