"""The protobuf wire format (https://protobuf.dev/programming-guides/encoding), as much of it as models need."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["delimited", "fields", "message", "read_varints", "varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of each field, in file order. Raises ValueError for what is no message."""
    position = 0
    while position < len(content):
        key, position = _read_varint(content, position)
        number, wire = key >> 3, key & 7
        value: int | memoryview
        if wire == _VARINT:
            value, position = _read_varint(content, position)
        elif wire in (_BYTES, _FIXED32, _FIXED64):
            length = {_FIXED32: 4, _FIXED64: 8}.get(wire, 0)
            if wire == _BYTES:
                length, position = _read_varint(content, position)
            if position + length > len(content):
                raise ValueError("it is cut short")
            value, position = content[position : position + length], position + length
        else:
            raise ValueError("it has an unknown wire type")
        yield number, value


def message(value: int | memoryview) -> memoryview:
    """The value of a field that must be bytes, a text or a message."""
    if isinstance(value, int):
        raise ValueError("a field has the wrong wire type")  # noqa: TRY004
    return value


def delimited(number: int, content: bytes) -> bytes:
    """Encode a field that is bytes, a text, a message or packed numbers."""
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Encode a whole number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varints(content: memoryview) -> list[int]:
    """The numbers of a packed field."""
    numbers, position = [], 0
    while position < len(content):
        number, position = _read_varint(content, position)
        numbers.append(number)
    return numbers


def _read_varint(content: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise ValueError("it is cut short")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it has an endless number")
