"""A ledger's cells as a Faust table: keys that say their partition, changes that can be waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import faust
from faust.types import FutureMessage

from stream_infer.comparison.ledger import Cell, CellKey
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.statistics import Statistics

__all__ = ["CellTable", "Stored", "key_text", "position_text", "position_value", "stored_of", "value_of"]

_POSITION_BYTES: Final = 8


class CellTable(faust.Table):  # type: ignore[type-arg]
    """A table whose keys say their partition, and whose changes can be waited for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sent: list[FutureMessage] = []

    def partition_for_key(self, key: Any) -> int:
        """Return the partition of the comparison topic that a cell belongs to."""
        return int(json.loads(key)[0])

    def send_changelog(self, *args: Any, **options: Any) -> FutureMessage:
        """Send a change, and remember it."""
        sent = super().send_changelog(*args, **options)
        self._sent.append(sent)
        return sent

    async def flush(self) -> None:
        """Wait until the brokers have every change."""
        sent, self._sent = self._sent, []
        await asyncio.gather(*sent)


def key_text(key: CellKey) -> str:
    """A cell's key in the table: JSON, the partition first."""
    return json.dumps([key.partition, *key.versions, key.segment, key.window, key.start_ms])


def value_of(cell: Cell) -> bytes:
    """A cell's value in the table: its position, then its statistics."""
    return position_value(cell.position) + cell.statistics.to_bytes()


def position_text(partition: int) -> str:
    """The key of a partition's position, which stands among its cells."""
    return json.dumps([partition])


def position_value(position: int) -> bytes:
    """A position's value in the table."""
    return position.to_bytes(_POSITION_BYTES, "big")


class Stored(NamedTuple):
    """What a table holds: the cells, and up to where all of them have counted each partition."""

    cells: dict[CellKey, Cell]
    positions: dict[int, int]


def stored_of(table: Mapping[str, bytes]) -> Stored:
    """Read what the functions above wrote."""
    stored = Stored({}, {})
    for text, value in table.items():
        partition, *name = json.loads(text)
        position = int.from_bytes(value[:_POSITION_BYTES], "big")
        if name:
            key = CellKey(partition, Versions(*name[:3]), *name[3:])
            stored.cells[key] = Cell(position, Statistics.from_bytes(value[_POSITION_BYTES:]))
        else:
            stored.positions[partition] = position
    return stored
