"""What can become of a row in decode: a number for the kernel, a class and a sentence for people."""

from __future__ import annotations

from typing import Final

__all__ = ["CLASSES", "REASONS"]

OK: Final = 0
TRUNCATED: Final = 1
VARINT: Final = 2
LENGTH: Final = 3
UNION_INDEX: Final = 4
ENUM_INDEX: Final = 5
BOOLEAN_BYTE: Final = 6
UTF8: Final = 7
BLOCK: Final = 8
DEPTH: Final = 9
TRAILING: Final = 10
FEATURE_COUNT: Final = 11
DECIMAL_SIZE: Final = 12
ENTITY_MISSING: Final = 13
ENTITY_SIZE: Final = 14
EVENT_ID_SIZE: Final = 15
TIME_RANGE: Final = 16
TIME_NONE: Final = 17
NULL: Final = 18
TOO_LARGE: Final = 19
SHORT: Final = 20
MAGIC: Final = 21
KEY_UTF8: Final = 22
PENDING: Final = 253  # framed, not decoded yet
LEFT: Final = 254  # its schema cannot be used
WAITING: Final = 255  # its schema cannot be looked up now

_WORDS: Final[dict[int, tuple[str, str]]] = {
    TRUNCATED: ("truncated", "the payload ends before the value does"),
    VARINT: ("varint", "an integer is longer than its type allows"),
    LENGTH: ("length", "a length is negative"),
    UNION_INDEX: ("union", "the union has no such branch"),
    ENUM_INDEX: ("enum", "the enum has no such symbol"),
    BOOLEAN_BYTE: ("boolean", "a boolean is neither 0 nor 1"),
    UTF8: ("utf8", "a text is not valid UTF-8"),
    BLOCK: ("length", "a block of items has an impossible count or size"),
    DEPTH: ("depth", "the datum is nested too deeply"),
    TRAILING: ("trailing", "bytes follow the end of the event"),
    FEATURE_COUNT: ("feature_count", "the array does not have one item per feature of the model"),
    DECIMAL_SIZE: ("decimal", "a decimal has too many bytes to be a feature"),
    ENTITY_MISSING: ("entity", "the event names no entity: it is null or empty"),
    ENTITY_SIZE: ("entity", "the name of the entity is too long"),
    EVENT_ID_SIZE: ("event_id", "the event id is too long"),
    TIME_RANGE: ("time", "the time is not within the years 1 to 9999; is it in the unit its type says?"),
    TIME_NONE: ("time", "neither the event nor its record has a time"),
    NULL: ("null", "the record has no value"),
    TOO_LARGE: ("too_large", "the payload is larger than input.max_event_bytes"),
    SHORT: ("truncated", "the payload is shorter than the five bytes that name its schema"),
    MAGIC: ("magic", "the payload does not begin with 0: it is not in the Confluent wire format"),
    KEY_UTF8: ("utf8", "the message key is not valid UTF-8"),
}

CLASSES: Final = {status: words[0] for status, words in _WORDS.items()}
REASONS: Final = {status: words[1] for status, words in _WORDS.items()}
