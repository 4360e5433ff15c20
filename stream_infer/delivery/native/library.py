"""The librdkafka that confluent-kafka brought along: its functions, for compiled kernels and for Python."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, NamedTuple

from confluent_kafka import cimpl, libversion

from stream_infer.delivery.native.refusal import Refusal

__all__ = ["Calls", "Library"]

_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p


class Calls(NamedTuple):
    """Addresses of the functions that kernels call, named as in rdkafka.h without ``rd_kafka_``."""

    consume_batch_queue: int
    message_destroy: int
    message_timestamp: int
    message_headers: int
    header_get_all: int
    header_cnt: int
    headers_new: int
    header_add: int
    headers_destroy: int
    produce_batch: int
    produceva: int
    error_code: int
    error_destroy: int
    queue_poll: int
    outq_len: int
    event_type: int
    event_error: int
    event_message_next: int
    event_destroy: int
    topic_name: int


_FORMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "version": (_INT, ()),
    "name": (_POINTER, (_POINTER,)),
    "topic_new": (_POINTER, (_POINTER, _TEXT, _POINTER)),
    "topic_destroy": (None, (_POINTER,)),
    "topic_name": (_TEXT, (_POINTER,)),
    "queue_new": (_POINTER, (_POINTER,)),
    "queue_destroy": (None, (_POINTER,)),
    "queue_get_main": (_POINTER, (_POINTER,)),
    "queue_get_partition": (_POINTER, (_POINTER, _TEXT, ctypes.c_int32)),
    "queue_forward": (None, (_POINTER, _POINTER)),
    "purge": (_INT, (_POINTER, _INT)),
    "event_type": (_INT, (_POINTER,)),
    "event_message_next": (_POINTER, (_POINTER,)),
    "queue_poll": (_POINTER, (_POINTER, _INT)),
    "event_destroy": (None, (_POINTER,)),
    "event_log": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER)),
    "event_error": (_INT, (_POINTER,)),
    "event_error_string": (_TEXT, (_POINTER,)),
    "event_error_is_fatal": (_INT, (_POINTER,)),
}
"""Functions that Python calls, by result and arguments."""


class Library:
    """``functions`` are for Python, by their names in rdkafka.h without ``rd_kafka_``; ``calls`` are for kernels.

    The wheel's own extension module is asked for them: the dynamic linker finds them in whatever library that module
    is linked with, bundled or the system's. Raises Refusal where that is not the one confluent-kafka speaks of.
    """

    def __init__(self, functions: SimpleNamespace, calls: Calls) -> None:
        self.functions = functions
        self.calls = calls

    @classmethod
    def open(cls) -> Library:
        """Find everything."""
        binary = ctypes.CDLL(cimpl.__file__)
        try:
            functions = SimpleNamespace(**{name: _function(binary, name) for name in _FORMS})
            calls = Calls(*(_address(binary, name) for name in Calls._fields))
        except AttributeError as error:
            raise Refusal(f"a function is missing: {error}") from error
        found, wanted = functions.version(), libversion()[1]
        if found != wanted:
            raise Refusal(f"the library found is version {found:#x}, confluent-kafka uses {wanted:#x}")
        return cls(functions, calls)


def _function(binary: ctypes.CDLL, name: str) -> Any:
    function = getattr(binary, f"rd_kafka_{name}")
    function.restype, function.argtypes = _FORMS[name]
    return function


def _address(binary: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(binary, f"rd_kafka_{name}"), _POINTER).value or 0
