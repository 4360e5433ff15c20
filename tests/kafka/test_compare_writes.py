"""Changes of the analysts' tables that the brokers do not take: the app ends, and the next start misses none."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.kafka.comparisons import records
from tests.kafka.test_compare import DEADLINE_S, Analysts, events, numbers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def bound(servers: str, topic: str, size: int) -> None:
    """Set how long a record may be."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": servers})
    (future,) = admin.incremental_alter_configs([resource]).values()
    future.result(60)


def test_changes_that_are_refused_end_the_app_and_none_is_missing_afterwards(kafka, tmp_path):
    analysts = Analysts(kafka, tmp_path)
    changelog = f"{analysts.app}-compare-cells-changelog"
    sent = analysts.writer.write(records(300))
    with analysts.watching() as process:
        analysts.wait(process, sent)
        bound(kafka, changelog, 100)
        sent += analysts.writer.write(records(300, seed=1, first=300))
        assert process.wait(DEADLINE_S) == 1, analysts.log()
        assert "ended: a batch could not be counted or stored: MessageSizeTooLargeError()" in analysts.log()
    bound(kafka, changelog, 1 << 20)
    with analysts.watching() as process:
        live = analysts.wait(process, sent)
    assert events(live) == sent
    assert numbers(live) == numbers(analysts.report("--from-topic"))
