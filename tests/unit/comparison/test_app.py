"""What the app does after a recovery, without a broker: tests/kafka/test_compare.py has the rest."""

from __future__ import annotations

import asyncio
import json

from stream_infer.comparison.app import AppSettings, CompareApp
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.verdict import Criteria
from tests.unit.comparison.pair_data import made


def ledger() -> Ledger:
    return Ledger(Windows(), Segments({}, 10))


def stored(book: Ledger) -> dict[str, bytes]:
    """The table of an app that has counted what this ledger has."""
    found = {}
    for key, cell in book.cells.items():
        name = json.dumps([key.partition, *key.versions, key.segment, key.window, key.start_ms])
        found[name] = cell.position.to_bytes(8, "big") + cell.statistics.to_bytes()
    return found


def test_a_recovery_never_sets_a_partition_back() -> None:
    """The table is behind in one partition, which this process kept, and ahead in one that comes from another."""
    kept, other = made(1, 300, 0), made(2, 300, 1)
    settings = AppSettings("a", "b", {}, "c", "d", 2, "e", "f", 1)
    app = CompareApp(settings, Criteria(), ledger(), lambda *_: kept, lambda *_: b"")
    app.ledger.add(kept)
    app.ledger.add(other.take(other.offset < 100))
    table = ledger()
    table.add(kept.take(kept.offset < 200))
    table.add(other)

    asyncio.run(app._recover(stored(table)))

    whole = ledger()
    whole.add(kept)
    whole.add(other)
    assert app.ledger.positions() == {0: 300, 1: 300}
    for window in ("total", "hour", "minute", "block"):
        assert app.ledger.select(window) == whole.select(window)
