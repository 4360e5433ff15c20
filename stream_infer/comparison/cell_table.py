"""A ledger's cells as a Faust table: keys that say their partition, changes that can be waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import faust
from faust.types import FutureMessage

from stream_infer.comparison.ledger import Cell, CellKey
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.statistics import Statistics

__all__ = ["CellTable", "cell_of", "key_of", "key_text", "value_of"]

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


def key_of(text: str) -> CellKey:
    """Read what ``key_text`` wrote."""
    partition, shadow_id, primary, shadow, *rest = json.loads(text)
    return CellKey(partition, Versions(shadow_id, primary, shadow), *rest)


def value_of(cell: Cell) -> bytes:
    """A cell's value in the table: its position, then its statistics."""
    return cell.position.to_bytes(_POSITION_BYTES, "big") + cell.statistics.to_bytes()


def cell_of(value: bytes) -> Cell:
    """Read what ``value_of`` wrote."""
    position = int.from_bytes(value[:_POSITION_BYTES], "big")
    return Cell(position, Statistics.from_bytes(value[_POSITION_BYTES:]))
