"""The analysts' app: a Faust worker that keeps a ledger of the comparison topic, and shows it.

What it promises: after any end, a kill included, and any rebalance the numbers go on as if it had never stopped. Faust
alone does not keep that: with ``at_least_once`` the changes of a table are sent without being waited for, uncommitted
records are read, and some are lost in a rebalance; ``exactly_once`` has known faults there. So three things are done:

- each value of the table is a cell of the ledger with the position up to which it has counted: a record that is read
  again is not counted again;
- when the brokers have all changes of a batch, the table gets the position that all cells have counted up to; reading
  goes on there after a restart and after a rebalance, whatever Faust has committed;
- the consumer reads committed records only, and each says from where on it was read (transport.py): where some between
  are missing, they are read again.

Labels come when they come, so what they count is not in the table: ``label_follower`` has it.

One process holds all partitions: numbers of a part would be no verdict. A second one takes some of them over, and
both say so instead of judging.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import faust
import numpy as np
from faust.exceptions import ConsumerNotStarted
from mode.supervisors import CrashingSupervisor

from stream_infer.comparison.cell_table import (
    CellTable,
    key_text,
    position_text,
    position_value,
    stored_of,
    value_of,
)
from stream_infer.comparison.faust_app import AppSettings, faust_app
from stream_infer.comparison.label_follower import LabelFollower
from stream_infer.comparison.ledger import Ledger
from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.positions import Positions
from stream_infer.comparison.recovery import see_recoveries_end
from stream_infer.comparison.report import render
from stream_infer.comparison.summary import summary, verdicts
from stream_infer.comparison.verdict import Criteria, Verdict

__all__ = ["CompareApp"]

logger = logging.getLogger(__name__)

_BATCH: Final = 10_000
_WITHIN_S: Final = 1.0
_LABELS_S: Final = 1.0

Read = Callable[[Any, Any, Sequence[bytes]], Pairs]
Encode = Callable[[Versions, Verdict], bytes]
Result = TypeVar("Result")


@dataclass
class CompareApp:
    """Builds the Faust app around a ledger. ``read`` makes pairs of records, ``encode`` a record of a verdict.

    ``ledger`` is an empty one: recovered tables fill it. ``labels`` counts those that there are, if any.
    """

    settings: AppSettings
    criteria: Criteria
    ledger: Ledger
    read: Read
    encode: Encode
    labels: LabelFollower | None = None
    events_count: int = field(default=0, init=False)
    positions: Positions = field(default_factory=Positions, init=False)

    def build(self) -> faust.App:
        """Make the app: one agent, two tables, a timer and pages."""
        given = self.settings
        app = faust_app(given, self.positions.restart)
        source = app.topic(given.topic, value_type=bytes, value_serializer="raw", key_serializer="raw")
        options = {
            "key_type": str,
            "value_type": bytes,
            "partitions": given.partitions,
        }
        cells = CellTable(app, name="cells", default=bytes, **options)
        told = CellTable(app, name="verdicts", default=bytes, **options)
        for table in (cells, told):
            app.tables.add(table)
        see_recoveries_end(app)
        cells.on_recover(lambda: self._recover(cells))
        app.agent(source, name="count", supervisor_strategy=CrashingSupervisor)(self._agent(app, cells))
        app.timer(given.verdict_interval_s, on_leader=False)(self._teller(app, told))
        if self.labels is not None:
            app.task(self._follow(self.labels))
        self._add_pages(app)
        return app

    def content(self, app: faust.App) -> dict[str, Any]:
        """All numbers of now, and what they rest on."""
        return {
            "source": self.settings.topic,
            "is_whole": self._is_whole(app),
            "positions": self.positions.all(),
            "events_since_start": self.events_count,
            **self._shown(summary),
        }

    def _shown(self, view: Callable[[Any, Criteria], Result]) -> Result:
        """What a view makes of all that is counted."""
        if self.labels is None:
            return view(self.ledger, self.criteria)
        with self.labels.lock:
            return view(self.labels.merged(self.ledger), self.criteria)

    @staticmethod
    def _follow(labels: LabelFollower) -> Callable[[], Awaitable[None]]:
        async def follow() -> None:
            try:
                while True:
                    await asyncio.to_thread(labels.turn)
                    await asyncio.sleep(_LABELS_S)
            finally:
                labels.close()

        return follow

    async def _recover(self, cells: Mapping[str, bytes]) -> None:
        """Take the cells of the table that are ahead of the ledger's.

        The table may be behind: Faust puts back what the changelog held when a recovery began, over what a batch under
        way wrote and got acknowledged since. Whatever has counted farther is right: it holds all that the other does.
        """
        stored = stored_of(cells)
        for key, cell in stored.cells.items():
            known = self.ledger.cells.get(key)
            if known is None or cell.position > known.position:
                self.ledger.load(key, cell)
        self.positions.load(stored.positions)
        logger.info("recovered cells=%d", len(self.ledger.cells))

    def _agent(self, app: faust.App, cells: CellTable) -> Callable[[Any], Any]:
        async def count(stream: Any) -> None:
            async for events in stream.take_events(_BATCH, within=_WITHIN_S):
                try:
                    await self._take(app, cells, [event.message for event in events])
                except Exception as error:
                    logger.error(  # noqa: TRY400 (the cause is the brokers', not this code's)
                        "ended: a batch could not be counted or stored: %r. What is not stored is read again after "
                        "the next start. Cure: see that the brokers take records of %s-cells-changelog (rights, "
                        "max.message.bytes, disk), then start again",
                        error,
                        self.settings.id,
                    )
                    raise  # the supervisor ends the app: it would go on without this batch

        return count

    async def _take(self, app: faust.App, cells: CellTable, messages: list[Any]) -> None:
        if fresh := self.positions.take(messages):
            await self._count(cells, fresh)
        if self.positions.behind and not app.rebalancing:
            logger.warning(
                "records were dropped on their way: partitions %s are read again from %s",
                sorted(self.positions.behind),
                self.positions.all(),
            )
            await app.consumer.perform_seek()

    async def _count(self, cells: CellTable, messages: list[Any]) -> None:
        pairs = self.read(
            np.array([message.partition for message in messages], np.int32),
            np.array([message.offset for message in messages], np.int64),
            [message.value or b"" for message in messages],
        )
        touched, gone = self.ledger.add(pairs)
        for key in touched:
            cells[key_text(key)] = value_of(self.ledger.cells[key])
        for key in gone:
            cells.pop(key_text(key), None)
        await cells.flush()
        counted = self.positions.all()
        for partition in {message.partition for message in messages}:
            cells[position_text(partition)] = position_value(counted[partition])
        await cells.flush()
        self.events_count += len(pairs)

    def _teller(self, app: faust.App, told: CellTable) -> Callable[[], Awaitable[None]]:
        topic = app.topic(
            self.settings.verdict_topic, key_serializer="raw", value_serializer="raw", acks=False
        )

        async def tell() -> None:
            if not self._is_whole(app):
                return
            for versions, verdict in self._shown(verdicts).items():
                key, value = json.dumps([0, *versions]), verdict.verdict.encode()
                if told.get(key) == value:
                    continue
                await (
                    await topic.send(key="|".join(versions).encode(), value=self.encode(versions, verdict))
                )
                told[key] = value
                await told.flush()
                logger.info(
                    "verdict %s versions=%s reason=%s", verdict.verdict, "|".join(versions), verdict.reason
                )

        return tell

    def _is_whole(self, app: faust.App) -> bool:
        """Whether this process has all partitions and their tables, and what labels say of them."""
        if app.rebalancing or not app.consumer:
            return False
        if self.labels is not None and not self.labels.is_ready:
            return False
        try:
            assigned = app.consumer.assignment()
        except ConsumerNotStarted:  # pages are served before
            return False
        return sum(tp.topic == self.settings.topic for tp in assigned) == self.settings.partitions

    def _add_pages(self, app: faust.App) -> None:
        @app.page("/summary")
        async def summary_page(view: Any, _: Any) -> Any:
            return view.json(self.content(app))

        @app.page("/report")
        async def report_page(view: Any, _: Any) -> Any:
            return view.html(render(self.content(app)))
