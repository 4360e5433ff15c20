"""The ``rd_kafka_t`` of a confluent-kafka client: the first field behind the header that every Python object has."""

from __future__ import annotations

import ctypes
import os
import re
from typing import Any

from stream_infer.delivery.native.library import Library
from stream_infer.delivery.native.refusal import Refusal

__all__ = ["handle_of"]

_NAME_BYTES = 64
_NAME = re.compile(r"#(producer|consumer)-\d+$")


def handle_of(library: Library, client: Any, client_id: str = "") -> int:
    """The address of a client's handle. Raises Refusal unless what lies there calls itself such a client.

    librdkafka names a client ``<client.id>#<kind>-<number>``; with ``client_id`` that is looked at too.
    """
    handle = ctypes.c_int64.from_address(id(client) + object.__basicsize__).value
    # The name lies inside what the handle points to, so asking for it follows no pointer; reading it is checked first.
    name: int = library.functions.name(handle) if _readable(handle) else 0
    if not _readable(name):
        raise Refusal("the client's handle is not where it is expected")
    found = ctypes.string_at(name, _NAME_BYTES).split(b"\0")[0].decode("utf-8", "replace")
    if not found.startswith(client_id) or not _NAME.search(found):
        raise Refusal(f"the client's handle belongs to {found!r}")
    return handle


def _readable(address: int) -> bool:
    """Whether memory can be read there; the kernel answers, so that a wrong address is no crash."""
    if address <= 0:
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
