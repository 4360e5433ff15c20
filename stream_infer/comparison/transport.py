"""Faust's Kafka transport, closed where it loses records.

- Faust reads committed records only with ``exactly_once``; here always.
- A fetch that is under way when a rebalance begins may end with records of the new assignment. Faust drops them, also
  those of a changelog that it then waits for without end. Here they stay where they are until the flow goes on.
- Faust seeks to what it has committed, which may lie behind records that it dropped. Here it seeks to where the app has
  counted up to, and each record says from where on it was read: ``positions`` finds what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import aiokafka
from faust.transport.drivers import aiokafka as driver

__all__ = ["Counted", "CountedTransport"]

Counted = Callable[[], Mapping[int, int]]
"""The first offset of each partition that is not counted; one that is not named begins at 0."""


class _Fetched(NamedTuple):
    record: aiokafka.ConsumerRecord
    read_from: int


class _Thread(driver.AIOKafkaConsumerThread):
    """Runs the consumer. What it remembers is of its own loop alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read_to: dict[Any, int] = {}

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 (Faust passes no such argument on)
        return consumer

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Forget where reading was: it goes on elsewhere."""
        self._read_to.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to(self, topic: str, positions: Mapping[int, int]) -> dict[Any, int | None]:
        """Read on at these positions of a topic; other assigned topics are left where they are, and get None."""
        found: dict[Any, int | None] = await self.call_thread(self._seek_to, topic, positions)
        return found

    async def _seek_to(self, topic: str, positions: Mapping[int, int]) -> dict[Any, int | None]:
        consumer, sought = self._ensure_consumer(), dict[Any, int | None]()
        for tp in consumer.assignment():
            sought[tp] = None
            if tp.topic == topic:
                sought[tp] = self._read_to[tp] = positions.get(tp.partition, 0)
                consumer.seek(tp, self._read_to[tp])
        return sought

    async def _fetch_records(
        self, consumer: aiokafka.AIOKafkaConsumer, *args: Any, **options: Any
    ) -> dict[Any, list[_Fetched]]:
        fetched = await super()._fetch_records(consumer, *args, **options)
        # Nothing was awaited since the records were taken, so no seek came between.
        if self.consumer.flow_active:
            return {tp: list(self._linked(tp, records)) for tp, records in fetched.items()}
        for tp, records in fetched.items():
            consumer.seek(tp, records[0].offset)
        return {}

    def _linked(self, tp: Any, records: list[aiokafka.ConsumerRecord]) -> Iterable[_Fetched]:
        read_from = self._read_to.get(tp, records[0].offset)
        for record in records:
            yield _Fetched(record, read_from)
            read_from = record.offset + 1
        self._read_to[tp] = read_from


class _Consumer(driver.Consumer):
    _thread: _Thread

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Any:
        """Seek what the app counts to where it stands; see the module."""
        transport = cast("CountedTransport", self.transport)
        return await self._thread.seek_to(transport.topic, transport.counted())

    def _to_message(self, tp: Any, record: Any) -> Any:
        message: Any = super()._to_message(tp, record.record)
        message.read_from = record.read_from
        return message


class CountedTransport(driver.Transport):
    """Give it to an app as its ``transport``: it reads ``topic`` on from ``counted``."""

    Consumer: ClassVar[Any] = _Consumer

    def __init__(self, app: Any, topic: str, counted: Counted) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.topic, self.counted = topic, counted
