"""`stream-infer model rollback --rescore`: what a bad version scored is corrected once, through kills and repeats."""

from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import fastavro
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_infer.avro import schemas
from stream_infer.errors import ModelError
from stream_infer.model_registry.directory import DirectoryRegistry
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, stop_reading_at_end
from tests.kafka.test_model_swap import following
from tests.kafka.test_worker import mixed
from tests.program import Running

pytestmark = pytest.mark.kafka

DEADLINE_S = 120.0
_SCORED = fastavro.parse_schema(json.loads(schemas.text("scored_event")))

Place = tuple[int, int]


def command(deployment: Deployment, detector: Path, *options: str, max_events: int = 50) -> Running:
    """`model rollback --rescore 2 --to 1`, in small transactions."""
    return Running(
        ["model", "rollback", detector, *options, "-c", deployment.config],
        environment={"STREAM_INFER__BATCH__MAX_EVENTS": str(max_events)},
    )


def ended(process: Running, code: int = 0) -> str:
    done = process.end()
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def kill_once_written(deployment: Deployment, process: Running, topic: str) -> None:
    """Kill it as soon as there is something in the topic, committed or not."""
    settings = {"group.id": "ends", "isolation.level": "read_uncommitted"}
    consumer = Consumer({"bootstrap.servers": deployment.servers, **settings})
    places = [TopicPartition(topic, number) for number in range(deployment.partitions)]
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if any(consumer.get_watermark_offsets(place, 5)[1] for place in places):
                break
        except KafkaException:
            pass  # it is not there yet
        assert process.poll() is None, process.end()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    consumer.close()


def corrections(deployment: Deployment) -> list[dict[str, Any]]:
    """The corrections; each is in the partition of its event, has its key, and is marked."""
    keys = {
        (m.partition(), m.offset()): m.key()
        for m in stop_reading_at_end(deployment.servers, deployment.topic)
    }
    found = []
    for message in stop_reading_at_end(deployment.servers, f"{deployment.topic}.corrected"):
        event: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), _SCORED, None)
        assert message.partition() == event["source_partition"]
        assert message.key() == keys[event["source_partition"], event["source_offset"]]
        assert dict(message.headers() or []) == {"stream_infer.corrects": b"2"}
        found.append(event)
    return found


def place(event: dict[str, Any]) -> Place:
    return event["source_partition"], event["source_offset"]


@pytest.mark.slow
def test_what_a_bad_version_scored_is_corrected_once(
    deploy: Callable[..., Deployment], rows: Rows, detector: DirectoryRegistry, tmp_path: Path
) -> None:
    deployment = deploy(partitions=2, **following(tmp_path))
    worker = deployment.start()
    deployment.send(rows(900))
    deployment.wait_committed()
    detector.point("current", "2")
    worker.wait_until(lambda: worker.facts().get("version") == "2")
    deployment.send(mixed(rows(3000, start=900), 100))
    deployment.wait_committed()

    where, options = tmp_path / "models" / "detector", ("--rescore", "2", "--to", "1")
    killed = command(deployment, where, *options, max_events=1)  # so that it is still at it when it is killed
    kill_once_written(deployment, killed, f"{deployment.topic}.corrected")
    assert detector.resolve("current").version == "1"
    worker.wait_until(lambda: worker.facts().get("version") == "1")
    deployment.send(rows(300, start=3900))
    said = ended(command(deployment, where, *options))
    (corrected,) = re.findall(r"2 scored 3000 events, (\d+) are corrected", said)
    assert int(corrected) < 3000, "it was killed too late to prove anything"
    again = ended(command(deployment, where, *options))
    assert "2 scored 3000 events, 3000 are corrected" in again
    deployment.wait_committed()

    scored = {place(event): event for event in deployment.outcome().scored}
    wanted = {at for at, event in scored.items() if event["model_version"] == "2"}
    found = corrections(deployment)
    assert len(wanted) == 3000
    assert Counter(map(place, found)) == Counter(wanted), "lost or doubled"
    for event in found:
        before = scored[place(event)]
        assert event["model_version"] == "1"
        assert event["score"] == pytest.approx(before["score"], rel=1e-5, abs=1e-5)
        assert event["threshold"] == pytest.approx(before["threshold"] / 0.9)
        assert [event[name] for name in ("event_id", "entity", "time")] == [
            before[name] for name in ("event_id", "entity", "time")
        ]
    groups = AdminClient({"bootstrap.servers": deployment.servers}).list_consumer_groups().result(120).valid
    assert [
        one.group_id for one in groups if "rescore" in one.group_id and deployment.app in one.group_id
    ] == []


def test_versions_that_the_alias_does_not_mean_are_refused(
    deploy: Callable[..., Deployment], detector: DirectoryRegistry, tmp_path: Path
) -> None:
    detector.add(tmp_path / "1", "3", {})
    detector.point("current", "3")
    deployment = deploy(partitions=1)
    process = command(deployment, tmp_path / "models" / "detector", "--rescore", "2", "--to", "1")
    said = ended(process, ModelError.exit_code)
    assert "current means 3, neither 2 nor 1" in said
    process = command(deployment, tmp_path / "models" / "detector", "--rescore", "current")
    said = ended(process, click.BadParameter.exit_code)
    assert "name the version, here 3" in said
    assert detector.resolve("current").version == "3"
