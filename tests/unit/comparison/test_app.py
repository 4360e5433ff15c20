"""What the app does after a recovery, without a broker: tests/kafka/test_compare.py has the rest."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import numpy as np

from stream_infer.comparison.app import CompareApp
from stream_infer.comparison.cell_table import key_text, position_text, position_value, value_of
from stream_infer.comparison.faust_app import AppSettings
from stream_infer.comparison.ledger import Ledger, Windows
from stream_infer.comparison.segments import Segments
from stream_infer.comparison.summary import summary
from stream_infer.comparison.verdict import Criteria
from tests.unit.comparison.pair_data import made
from tests.unit.comparison.test_labels import PARTS, Live

SETTINGS = AppSettings("a", "b", {}, "c", "d", 2, "e", "f", 1)


def ledger() -> Ledger:
    return Ledger(Windows(), Segments({}, 10))


def stored(book: Ledger) -> dict[str, bytes]:
    """The table of an app that has counted what this ledger has."""
    found = {key_text(key): value_of(cell) for key, cell in book.cells.items()}
    for partition in {key.partition for key in book.cells}:
        position = max(cell.position for key, cell in book.cells.items() if key.partition == partition)
        found[position_text(partition)] = position_value(position)
    return found


def test_a_page_that_is_asked_for_before_the_consumer_starts_says_so() -> None:
    app = CompareApp(SETTINGS, Criteria(), ledger(), lambda *_: made(1, 1, 0), lambda *_: b"")

    async def content() -> dict[str, object]:
        built = app.build()
        found = app.content(built)
        built.consumer._thread.thread_loop.close()  # that of a thread which never starts
        return found

    found = asyncio.run(content())
    assert found["is_whole"] is False
    assert found["comparisons"] == []


def test_a_recovery_never_sets_a_partition_back() -> None:
    """The table is behind in one partition, which this process kept, and ahead in one that comes from another."""
    kept, other = made(1, 300, 0), made(2, 300, 1)
    app = CompareApp(SETTINGS, Criteria(), ledger(), lambda *_: kept, lambda *_: b"")
    app.ledger.add(kept)
    app.ledger.add(other.take(other.offset < 100))
    app.positions.load({0: 300, 1: 100})
    table = ledger()
    table.add(kept.take(kept.offset < 200))
    table.add(other)

    asyncio.run(app._recover(stored(table)))

    whole = ledger()
    whole.add(kept)
    whole.add(other)
    assert app.positions.all() == {0: 300, 1: 300}
    for window in ("total", "hour", "minute", "block"):
        assert app.ledger.select(window) == whole.select(window)


def test_labels_are_followed_until_the_app_ends() -> None:
    """A label that comes while the task runs is in the numbers; when it is cancelled the follower is closed."""
    live = Live()
    criteria = Criteria(labelled=True)
    app = CompareApp(SETTINGS, criteria, live.ledger, lambda *_: PARTS[0], lambda *_: b"", live.follower)
    for part in PARTS:
        live.write(part)
    row = int(np.flatnonzero(PARTS[0].both)[0])

    def labelled() -> int:
        totals = [one["total"]["labels"] for one in app._shown(summary)["comparisons"]]
        return sum(labels["events"] for labels in totals if labels)

    async def course() -> list[int]:
        task = asyncio.create_task(app._follow(live.follower)())
        counted = []
        for expected, event in enumerate((None, str(PARTS[0].event_id[row]))):
            if event is not None:
                live.source.say(event, 1)
            deadline = time.monotonic() + 60
            while not live.follower.is_ready or live.source.changes or labelled() != expected:
                assert time.monotonic() < deadline, labelled()
                await asyncio.sleep(0.05)
            counted.append(labelled())
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return counted

    assert asyncio.run(course()) == [0, 1]
    live.topic.read_count = 0
    live.source.say(str(PARTS[0].event_id[row]), 0)
    live.follower.turn()
    assert live.topic.read_count < sum(map(len, PARTS))  # a closed follower reads no further
