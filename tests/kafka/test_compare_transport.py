"""Faust's consumer as the analysts' app has it, on a real broker: what is fetched while the flow stands is not lost."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition

from stream_infer.comparison.faust_app import AppSettings, faust_app
from tests.kafka.comparisons import Writer, create, records

pytestmark = pytest.mark.kafka

COUNT = 100
WITHIN_S = 60.0


def test_what_comes_while_the_flow_stands_comes_again(kafka, tmp_path):
    """Faust drops it, and seeks back only at times, and never in a changelog: its recovery then waits for ever."""
    asyncio.run(_course(kafka, tmp_path, f"t{uuid.uuid4().hex[:8]}"))


async def _course(servers: str, folder: Path, topic: str) -> None:
    create(servers, topic, 1)
    settings = AppSettings(topic, servers, {}, topic, f"{topic}.verdicts", 1, str(folder), "127.0.0.1", 1)
    consumer: Any = faust_app(settings, dict).consumer
    reader = aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await reader.start()
    try:
        place = TopicPartition(topic, 0)
        consumer.resume_flow()
        under_way = asyncio.create_task(fetched(consumer, reader))
        await asyncio.sleep(0)
        consumer.stop_flow()  # as a rebalance does
        await asyncio.to_thread(Writer(servers, topic, 1).write, records(COUNT))
        assert await under_way == {}

        consumer.resume_flow()
        came = (await fetched(consumer, reader))[place]
        assert [one.record.offset for one in came] == list(range(COUNT))
        assert [one.read_from for one in came] == list(range(COUNT))

        consumer._thread._consumer = reader
        for counted in (40, 0):  # where nothing is counted reading begins at the beginning
            assert await consumer._thread._seek_to(topic, {0: counted} if counted else {}) == {place: counted}
            again = (await fetched(consumer, reader))[place]
            assert [(one.record.offset, one.read_from) for one in again] == [
                (offset, offset) for offset in range(counted, COUNT)
            ]
    finally:
        await reader.stop()
        consumer._thread.thread_loop.close()  # that of a thread which never starts


async def fetched(consumer: Any, reader: aiokafka.AIOKafkaConsumer) -> dict[Any, Any]:
    found: dict[Any, Any] = await consumer._thread._fetch_records(
        reader, None, timeout=WITHIN_S, max_records=500
    )
    return found
