"""Records that kill the process: found in the sandbox, rejected with their bytes, and nothing else is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_infer.quarantine.quarantine import ERROR
from tests.chaos.killers import mark, plant
from tests.chaos.process import ChaosWorker
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, Event, encode

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]
PATCH = f"{plant.__module__}:{plant.__name__}"


def killers(*kinds: tuple[str, str]) -> list[Event]:
    return [
        encode("machine-1-2", 1, [0.0] * 38, mark(stage, way, number))
        for number, (stage, way) in enumerate(kinds)
    ]


def strewn(events: list[Event], among: list[Event], every: int) -> list[Event]:
    """The events with the others among them, one after each ``every``."""
    mixed = list(events)
    for number, one in enumerate(among, 1):
        mixed.insert(number * (every + 1) - 1, one)
    return mixed


class Supervisor:
    """Starts a worker, and again whenever it has died, as a cluster would."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.deaths = 0
        self.start()

    def start(self) -> None:
        folder = self.deployment.folder
        log = folder / f"killed-{self.deaths}.log"
        self.worker = ChaosWorker(self.deployment.config, log, {"CHAOS_PATCHES": PATCH})
        self.deployment.workers.append(self.worker)

    def wait_committed(self, timeout_s: float = 500.0) -> None:
        """Restart what dies until the committed offsets are the end of the input."""
        deadline = time.monotonic() + timeout_s
        while not self.done():
            assert time.monotonic() < deadline, self.worker.text()[-4000:]
            if not self.worker.alive:
                self.deaths += 1
                self.start()
            time.sleep(0.2)

    def done(self) -> bool:
        ends, found = self.committed()
        return bool(found) and [place.offset for place in found] == ends

    def committed(self) -> tuple[list[int], list[TopicPartition]]:
        """The ends of the input, and what is committed of it; nothing while the broker has no answer."""
        places = [TopicPartition(self.deployment.topic, p) for p in range(self.deployment.partitions)]
        settings: dict[str, Any] = {
            "bootstrap.servers": self.deployment.servers,
            "group.id": self.deployment.app,
        }
        consumer = Consumer(settings)
        try:
            ends = [consumer.get_watermark_offsets(place, 10)[1] for place in places]
            return ends, consumer.committed(places, 10)
        except KafkaException:
            return [], []
        finally:
            consumer.close()


def without_killers(deployment: Deployment) -> Deployment:
    """Scores are recomputed from all other records: a rejected one must have left no trace in any window."""
    recomputed = deployment.recomputed

    def of_others(source: list[Message]) -> dict[tuple[int, int], float]:
        return recomputed([m for m in source if b"killer-" not in (m.value() or b"")])

    deployment.recomputed = of_others  # type: ignore[method-assign]
    return deployment


@pytest.mark.parametrize(
    ("protocol", "kinds"),
    [("consumer", (("score", "memory"),)), ("classic", (("decode", "segfault"),))],
)
def test_killers_are_rejected_with_their_bytes(
    deploy: Deploy, rows: Rows, protocol: str, kinds: tuple[tuple[str, str], ...]
) -> None:
    quick = {} if protocol == "consumer" else {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
    deployment = without_killers(
        deploy(
            partitions=2,
            kafka={"group_protocol": protocol},
            delivery={"slot": "0"},
            quarantine={"deaths": 1, "memory_bytes": 400 << 20, "timeout_s": 60},
            **{"kafka.consumer": quick},
        )
    )
    deadly = killers(*kinds)
    deployment.send(strewn(rows(900), deadly, 300))
    supervisor = Supervisor(deployment)
    supervisor.wait_committed()
    deployment.send(rows(300, start=900))
    supervisor.wait_committed()
    supervisor.worker.wait_counted("stream_infer_suspect_partitions 0.0")
    _, committed = supervisor.committed()
    code = supervisor.worker.stop()
    outcome = deployment.outcome()

    assert supervisor.deaths >= 1
    assert len(outcome.scored) == 1200
    assert sorted(m.value() or b"" for m in outcome.rejected) == sorted(e.value or b"" for e in deadly)
    assert sorted((r.stage, r.error) for r in outcome.rejects) == sorted((s, ERROR) for s, _ in kinds)
    assert [place.metadata or "" for place in committed] == ["", ""]
    assert code == 0
