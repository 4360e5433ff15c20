"""Traffic: events of a chosen shape by the million, encoded column by column.

Event k is row number ``k // entities`` of entity ``k * stride % entities``, the stride another one in each round over
the entities; times rise by a minute per row. All fields but the features have a fixed length, so a batch of events is
one byte matrix. The rows are those of the packaged sample: each of 200 hosts repeats its own stretch, and every other
entity that of one of the hosts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_infer.data import sample_path

__all__ = ["FIRST_MS", "HOSTS", "ROWS_PER_HOST", "SCHEMA_ID", "STEP_MS", "Form", "Traffic", "host"]

HOSTS = 200
SCHEMA_ID = 7
ROWS_PER_HOST = 700
FIRST_MS = 1_560_000_000_000
STEP_MS = 60_000

Form = Literal["array", "fields", "mixed"]
"""How an event carries its features: one array of floats; a field each; or half of them nullable fields and half in a
nested record, beside an enum, a map and a decimal."""

_COLUMNS = ("entity_id", "seq", "ts", "split", "label")
_TABLE = pq.read_table(sample_path())
_NAMES = tuple(name for name in _TABLE.column_names if name not in _COLUMNS)
_ROWS = np.ascontiguousarray(np.column_stack([_TABLE[name].to_numpy() for name in _NAMES]), np.float32)
_STRIDES = np.array([7_919, 104_729, 15_485_863, 32_452_843, 49_979_687, 67_867_967, 86_028_121])  # primes
_NUMBER_DIGITS = 9

_HEAD_FIELDS = [
    {"name": "event_id", "type": "string"},
    {"name": "entity_id", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
]
_MIXED_FIELDS = [
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["gauge", "counter", "probe"]}},
    {"name": "tags", "type": {"type": "map", "values": "string"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
]
# probe; {"zone": "b", "rack": "7"}; 5 cents
_MIXED_BYTES = b"\x04" + b"\x04\x08zone\x02b\x08rack\x027\x00" + b"\x02\x05"
_PRESENT = 2  # the second branch of ["null", "float"], as a zigzag varint


def host(number: int) -> str:
    """The name of a host."""
    return f"host-{number:03d}"


@dataclass(frozen=True)
class Traffic:
    """A shape of events.

    ``entities``: how many there are. ``width``: features of an event. ``known``: whether the model's training saw the
    entities, which it can have of at most 200.
    """

    entities: int = HOSTS
    width: int = len(_NAMES)
    form: Form = "array"
    known: bool = True

    def __post_init__(self) -> None:
        if self.known and self.entities > HOSTS:
            raise ValueError(f"training knows {HOSTS} entities: more are to be unknown")

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names (of the mixed form: dotted paths) of the features, in the model's order."""
        plain = [
            _NAMES[i] if i < len(_NAMES) else f"{_NAMES[i % len(_NAMES)]}_{i // len(_NAMES)}"
            for i in range(self.width)
        ]
        half = self.width // 2
        return tuple([*plain[:half], *(f"more.{name}" for name in plain[half:])] if self.mixed else plain)

    @property
    def mixed(self) -> bool:
        """Whether events are of the mixed form."""
        return self.form == "mixed"

    @property
    def setting(self) -> Any:
        """The worker's ``input.features``."""
        return "features" if self.form == "array" else list(self.features)

    @cached_property
    def schema(self) -> str:
        """The Avro schema of the events."""
        fields: list[dict[str, Any]]
        if self.form == "array":
            fields = [{"name": "features", "type": {"type": "array", "items": "float"}}]
        elif self.form == "fields":
            fields = [{"name": name, "type": "float"} for name in self.features]
        else:
            half = self.width // 2
            nullable = [{"name": name, "type": ["null", "float"]} for name in self.features[:half]]
            nested = [{"name": name.partition(".")[2], "type": "float"} for name in self.features[half:]]
            more = {"name": "more", "type": {"type": "record", "name": "More", "fields": nested}}
            fields = [*_MIXED_FIELDS, *nullable, more]
        return json.dumps({"type": "record", "name": "Event", "fields": [*_HEAD_FIELDS, *fields]})

    @property
    def event_bytes(self) -> int:
        """Size of a payload."""
        return len(self.pairs(0, 1)[1][0])

    def entity(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The entity of each event: hosts in turn, others far from their neighbours and in an order that changes.

        A table has its entities in the order in which they came first: in that order the processor expects them.
        """
        if self.known:
            return numbers % self.entities
        assert (np.gcd(_STRIDES, self.entities) == 1).all()
        return numbers * _STRIDES[numbers // self.entities % len(_STRIDES)] % self.entities

    def rows(self, entity: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features (n, width) of rows number ``step`` of these entities."""
        own = entity % HOSTS * (len(_ROWS) // HOSTS)
        rows = _ROWS[own + (step + entity // HOSTS) % ROWS_PER_HOST]
        times = -(-self.width // len(_NAMES))
        return np.ascontiguousarray(np.tile(rows, times)[:, : self.width])

    def pairs(
        self, start: int, count: int, time_ms: NDArray[np.int64] | None = None
    ) -> tuple[list[bytes], list[bytes]]:
        """Keys and values (Confluent wire format) of events from ``start`` on, at their own or given times."""
        numbers = np.arange(start, start + count)
        entity, step = self.entity(numbers), numbers // self.entities
        names = self._names(entity)
        matrix = self._matrix(
            names, step, self.rows(entity, step), FIRST_MS + step * STEP_MS if time_ms is None else time_ms
        )
        return _rows_of(names), _rows_of(matrix)

    def partitions(self, start: int, count: int, of: int) -> list[int]:
        """The partition of each event, of ``of``: its entity's number."""
        found: list[int] = (self.entity(np.arange(start, start + count)) % of).tolist()
        return found

    def _names(self, entity: NDArray[np.int64]) -> NDArray[np.uint8]:
        prefix, digits = (b"host-", 3) if self.known else (b"unit-", 8)
        return np.concatenate([_fixed(prefix, len(entity)), _digits(entity, digits)], axis=1)

    def _matrix(
        self,
        names: NDArray[np.uint8],
        step: NDArray[np.int64],
        rows: NDArray[np.float32],
        time_ms: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        count, length = names.shape
        digits = names[:, 5:]
        parts = [
            _fixed(b"\0" + SCHEMA_ID.to_bytes(4, "big"), count),
            _fixed(bytes([2 * (digits.shape[1] + 1 + _NUMBER_DIGITS)]), count),
            digits,  # the event id: the entity's number, dash, row number
            _fixed(b"-", count),
            _digits(step, _NUMBER_DIGITS),
            _fixed(bytes([2 * length]), count),
            names,
            _varint(time_ms),
            *self._feature_bytes(rows),
        ]
        return np.concatenate(parts, axis=1)

    def _feature_bytes(self, rows: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
        count = len(rows)
        if self.form == "array":
            items = _varint(np.array([self.width]))[0].tobytes()
            return [_fixed(items, count), _bytes_of(rows), _fixed(b"\0", count)]
        if self.form == "fields":
            return [_bytes_of(rows)]
        half = self.width // 2
        nullable = np.empty((count, half, 5), np.uint8)
        nullable[:, :, 0] = _PRESENT
        nullable[:, :, 1:] = _bytes_of(rows[:, :half]).reshape(count, half, 4)
        return [_fixed(_MIXED_BYTES, count), nullable.reshape(count, -1), _bytes_of(rows[:, half:])]


def _rows_of(matrix: NDArray[np.uint8]) -> list[bytes]:
    length, content = matrix.shape[1], matrix.tobytes()
    return [content[at : at + length] for at in range(0, len(content), length)]


def _bytes_of(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)


def _fixed(text: bytes, count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (count, len(text)))


def _digits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (values[:, None] // powers % 10 + 48).astype(np.uint8)


def _varint(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Zigzag varints of values that all need the same number of bytes."""
    rest = values.astype(np.uint64) << np.uint64(1)
    groups = []
    while rest.any():
        groups.append((rest & np.uint64(127)).astype(np.uint8))
        rest = rest >> np.uint64(7)
    encoded = np.stack(groups, axis=1)
    encoded[:, :-1] |= 128
    return encoded
