"""Events by the million: rows of the packaged sample under the names of 200 hosts, encoded column by column.

Event k belongs to host ``k % HOSTS`` and is its row number ``k // HOSTS``; times rise by a minute per row. All fields
but the features have a fixed length, so a batch of events is one byte matrix.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_infer.data import sample_path

__all__ = ["FEATURES", "HOSTS", "SCHEMA", "SCHEMA_ID", "host", "pairs", "training_file"]

HOSTS = 200
SCHEMA_ID = 7
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "entity_id", "type": "string"},
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "features", "type": {"type": "array", "items": "float"}},
        ],
    }
)
_FIRST_MS = 1_560_000_000_000
_STEP_MS = 60_000
_COLUMNS = ("entity_id", "seq", "ts", "split", "label")
_ROWS_PER_HOST = 700  # each host repeats its own stretch of the sample; all of it is in training

_TABLE = pq.read_table(sample_path())
FEATURES = tuple(name for name in _TABLE.column_names if name not in _COLUMNS)
_ROWS = np.ascontiguousarray(np.column_stack([_TABLE[name].to_numpy() for name in FEATURES]), np.float32)


def host(number: int) -> str:
    """The name of a host."""
    return f"host-{number:03d}"


def training_file(path: Path) -> Path:
    """Write rows of every host for ``stream-infer train``."""
    number = np.repeat(np.arange(HOSTS), _ROWS_PER_HOST)
    seq = np.tile(np.arange(_ROWS_PER_HOST), HOSTS)
    rows = _ROWS[_row_of(number, seq)]
    columns = {"entity_id": [host(n) for n in number], "ts": _FIRST_MS + (seq - _ROWS_PER_HOST) * _STEP_MS}
    columns |= {name: rows[:, i] for i, name in enumerate(FEATURES)}
    pq.write_table(pa.table(columns), path)
    return path


def pairs(
    start: int, count: int, time_ms: NDArray[np.int64] | None = None
) -> tuple[list[bytes], list[bytes]]:
    """Keys and values (Confluent wire format) of events ``start`` to ``start + count``, at their own or given times."""
    numbers = np.arange(start, start + count)
    hosts, steps = numbers % HOSTS, numbers // HOSTS
    matrix = _matrix(hosts, steps, _FIRST_MS + steps * _STEP_MS if time_ms is None else time_ms)
    length, payload = matrix.shape[1], matrix.tobytes()
    return [_KEYS[n] for n in hosts.tolist()], [
        payload[at : at + length] for at in range(0, len(payload), length)
    ]


def _matrix(
    hosts: NDArray[np.int64], steps: NDArray[np.int64], time_ms: NDArray[np.int64]
) -> NDArray[np.uint8]:
    count = len(hosts)
    rows = _ROWS[_row_of(hosts, steps)]
    parts = [
        _fixed(b"\0" + SCHEMA_ID.to_bytes(4, "big"), count),
        _fixed(bytes([2 * 13]), count),
        _NAMES[hosts][:, 5:],  # the event id: host number, dash, row number
        _fixed(b"-", count),
        _digits(steps, 9),
        _fixed(bytes([2 * 8]), count),
        _NAMES[hosts],
        _varint(time_ms),
        _fixed(_varint(np.array([rows.shape[1]]))[0].tobytes(), count),
        rows.view(np.uint8).reshape(count, -1),
        _fixed(b"\0", count),
    ]
    return np.concatenate(parts, axis=1)


_NAMES = np.array([list(host(n).encode()) for n in range(HOSTS)], np.uint8)
_KEYS = [host(n).encode() for n in range(HOSTS)]


def _row_of(hosts: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    return hosts * (len(_ROWS) // HOSTS) + steps % _ROWS_PER_HOST


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
