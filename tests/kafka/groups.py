"""What another client can do to a member of a consumer group."""

from __future__ import annotations

import asyncio

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka.admin import AdminClient

__all__ = ["expel"]


def expel(servers: str, group: str) -> None:
    """Leave a group of the classic protocol in the name of its only member, which learns it by its next heartbeat."""
    admin = AdminClient({"bootstrap.servers": servers})
    (member,) = admin.describe_consumer_groups([group])[group].result(60).members
    asyncio.run(_leave(servers, group, member.member_id))


async def _leave(servers: str, group: str, member_id: str) -> None:
    client = AIOKafkaClient(bootstrap_servers=servers)
    await client.bootstrap()
    try:
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        response = await client.send(coordinator, LeaveGroupRequest(group, member_id))
        assert response.error_code == 0
    finally:
        await client.close()
