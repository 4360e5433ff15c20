"""Faust's Kafka transport with two gaps closed: what it reads, and where it reads on.

- Faust reads committed records only with ``exactly_once``; here always.
- In a rebalance Faust drops records it has fetched and seeks back to the committed offsets. A partition that has none
  yet is left where it is, past what was dropped: those records would never be seen. Here it goes back to its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import aiokafka
from faust.transport.drivers import aiokafka as driver

__all__ = ["CommittedTransport", "seek_back"]


async def seek_back(
    consumer: aiokafka.AIOKafkaConsumer, is_input: Callable[[aiokafka.TopicPartition], bool]
) -> Mapping[aiokafka.TopicPartition, int | None]:
    """Go back to the committed offsets, and to the beginning in partitions of the input that have none.

    Returns the committed offsets.
    """
    committed: Mapping[aiokafka.TopicPartition, int | None] = await consumer.seek_to_committed()
    if untouched := [tp for tp, offset in committed.items() if not offset and is_input(tp)]:
        await consumer.seek_to_beginning(*untouched)
    return committed


class _Thread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 (Faust passes no such argument on)
        return consumer

    async def seek_to_committed(self) -> Any:
        """Seek all partitions; see the module."""
        return await self.call_thread(self._seek_back)

    async def _seek_back(self) -> Any:
        changelogs = self.app.tables.changelog_topics
        return await seek_back(self._ensure_consumer(), lambda tp: tp.topic not in changelogs)


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(driver.Transport):
    """Give it to an app as its ``transport``."""

    Consumer: ClassVar[Any] = _Consumer
