"""`stream-infer model promote --on-verdict`: the alias moves when the verdict topic says so, and not before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from stream_infer.avro import schemas
from stream_infer.comparison.pairs import Versions
from stream_infer.comparison.verdict import Verdict
from stream_infer.comparison.verdict_record import VerdictEncoder
from stream_infer.errors import BrokerError, NotPromotedError
from stream_infer.model_registry.directory import DirectoryRegistry
from tests.kafka.comparisons import create
from tests.kafka.deployment import Deployment
from tests.program import Running

pytestmark = pytest.mark.kafka


class Promoting:
    """A deployment, its verdict topic, and `model promote challenger --on-verdict`."""

    def __init__(self, deployment: Deployment, detector: Path) -> None:
        self.topic = f"{deployment.topic}.verdicts"
        self._deployment = deployment
        self._detector = detector
        self._encoder = VerdictEncoder(schemas.IDS["verdict"])

    def say(self, verdict: str, shadow_id: str | None = None, primary: str = "1", shadow: str = "2") -> None:
        """Write a verdict as `stream-infer compare` does."""
        versions = Versions(shadow_id or f"{self._deployment.app}-shadow", primary, shadow)
        made = Verdict(verdict, "because", 20_000, 40, 1_700_000_000_000, 0.05, [])
        producer = Producer({"bootstrap.servers": self._deployment.servers})
        producer.produce(self.topic, self._encoder.encode(versions, made), "|".join(versions))
        assert producer.flush(60) == 0

    def start(self, *options: str) -> Running:
        command = ["model", "promote", self._detector, "challenger", "--on-verdict", *options]
        return Running([*command, "-c", self._deployment.config])

    def once(self, *options: str) -> tuple[int, str]:
        """Look once; the exit code and what was said."""
        done = self.start("--once", *options).end()
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def promoting(
    deploy: Callable[..., Deployment], detector: DirectoryRegistry, tmp_path: Path
) -> Iterator[Promoting]:
    detector.point("challenger", "2")
    deployment = deploy(partitions=1)
    made = Promoting(deployment, tmp_path / "models" / "detector")
    yield made
    AdminClient({"bootstrap.servers": deployment.servers}).delete_topics([made.topic])


def test_it_waits_for_the_verdict_on_these_two_versions(
    promoting: Promoting, detector: DirectoryRegistry, kafka: str
) -> None:
    code, said = promoting.once()
    assert (code, "compare.verdict_topic" in said) == (BrokerError.exit_code, True), said
    create(kafka, promoting.topic, 1)
    code, said = promoting.once()
    assert code == NotPromotedError.exit_code
    assert "no verdict on 2 beside 1" in said

    promoting.say("promote", shadow_id="another")
    promoting.say("promote", primary="0")
    promoting.say("promote", shadow="3")
    promoting.say("undecided")
    code, said = promoting.once()
    assert code == NotPromotedError.exit_code
    assert "is still undecided: because" in said

    waiting = promoting.start()
    time.sleep(3)
    assert waiting.poll() is None
    assert detector.resolve("current").version == "1"
    promoting.say("promote")
    done = waiting.end()
    assert (done.returncode, done.stdout) == (0, "current -> 2\n"), done.stderr
    assert detector.resolve("current").version == "2"
    assert promoting.once()[0] == 0, "it is done already"


def test_keep_and_old_verdicts_move_nothing(
    promoting: Promoting, detector: DirectoryRegistry, kafka: str
) -> None:
    create(kafka, promoting.topic, 1)
    promoting.say("promote")
    code, said = promoting.once("--since", "2100-01-01T00:00")
    assert code == NotPromotedError.exit_code
    assert "older than --since" in said
    promoting.say("keep")
    done = promoting.start().end()
    assert done.returncode == NotPromotedError.exit_code
    assert "is keep: because" in done.stderr
    assert detector.resolve("current").version == "1"
