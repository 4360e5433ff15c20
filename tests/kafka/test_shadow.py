"""The shadow on a real broker: a pair per event that the primary decided on, through kills, rebalances and repeats."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from stream_infer.avro import schemas as own_schemas
from stream_infer.build.shadow_config import shadow_config
from stream_infer.checks import require
from stream_infer.config import load
from stream_infer.data import sample_path
from stream_infer.errors import BrokerError
from stream_infer.model_registry.directory import DirectoryRegistry
from stream_infer.models.artifact import Artifact
from tests.kafka.conftest import Rows
from tests.kafka.deployment import Deployment, Outcome, WorkerProcess, stop_reading_at_end
from tests.kafka.test_worker import mixed
from tests.program import run

pytestmark = pytest.mark.kafka

Deploy = Callable[..., Deployment]
LITTLE = 1_048_576
"""Memory for what waits, so little that partitions are paused on the way."""

_COMPARISON = fastavro.parse_schema(json.loads(own_schemas.text("comparison")))


@pytest.fixture(params=["consumer", "classic"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model of the same sample: more anomalies, another version."""
    folder = tmp_path_factory.mktemp("models") / "candidate"
    run(["train", "--data", sample_path(), "--out", folder, "--threshold-quantile", "0.9"])
    return folder


@dataclass(frozen=True)
class Both:
    """What the worker wrote and what the shadow made of it."""

    outcome: Outcome
    pairs: list[dict[str, Any]]

    @property
    def results(self) -> set[tuple[int, int]]:
        """Positions of the events that the worker decided on."""
        scored = {(e["source_partition"], e["source_offset"]) for e in self.outcome.scored}
        return scored | {(r.source.partition, r.source.offset) for r in self.outcome.rejects}


def shadowed(deploy: Deploy, candidate: Path, **settings: Any) -> Deployment:
    """A deployment with a shadow that begins at the beginning and commits often, unless the settings say otherwise."""
    own = {"model": str(candidate), "port": 0, "start": "earliest", "commit_interval_ms": 100}
    shadow = {**own, **settings.pop("shadow", {})}
    delivery = {"transaction_timeout_ms": 4000, **settings.pop("delivery", {})}
    return deploy(shadow=shadow, delivery=delivery, **settings)


def group_of(deployment: Deployment) -> str:
    return f"{deployment.app}-shadow"


def wait_compared(deployment: Deployment) -> None:
    """Wait until both groups have committed the end of the input."""
    deployment.wait_committed()
    deployment.wait_committed(group=group_of(deployment))


def both(deployment: Deployment, candidate: Path, topic: str = "compared") -> Both:
    """Read everything back: no event is paired twice, order is kept, both sides are what they would be alone."""
    outcome = deployment.outcome()
    messages = stop_reading_at_end(deployment.servers, f"{deployment.topic}.{topic}")
    pairs = [fastavro.schemaless_reader(io.BytesIO(m.value()[5:]), _COMPARISON, None) for m in messages]
    last: dict[int, int] = {}
    for message, pair in zip(messages, pairs, strict=True):
        assert message.partition() == pair["source_partition"]
        assert pair["source_offset"] > last.get(message.partition(), -1), "doubled, or out of order"
        last[message.partition()] = pair["source_offset"]
    _primary_is_the_worker(outcome, pairs)
    source = stop_reading_at_end(deployment.servers, deployment.topic)
    expected = replace(deployment, model=candidate).recomputed(source)
    for pair in pairs:
        score = pair["shadow"]["score"]
        alone = expected.get((pair["source_partition"], pair["source_offset"]))
        assert score == (alone if alone is None else pytest.approx(alone, rel=1e-5, abs=1e-5))
    return Both(outcome, pairs)


def _primary_is_the_worker(outcome: Outcome, pairs: list[dict[str, Any]]) -> None:
    """The primary's side says what the worker's topics say."""
    scored = {(e["source_partition"], e["source_offset"]): e for e in reversed(outcome.scored)}
    rejects = {(r.source.partition, r.source.offset): r for r in outcome.rejects}
    for pair in pairs:
        place, primary = (pair["source_partition"], pair["source_offset"]), pair["primary"]
        if place in scored:
            event = scored[place]
            for name in ("score", "threshold", "is_anomaly", "window_full", "model_name", "model_version"):
                assert primary[name] == event[name]
            assert [pair[name] for name in ("event_id", "entity", "time")] == [
                event[name] for name in ("event_id", "entity", "time")
            ]
            assert primary["error"] is None
        else:
            assert primary["score"] is None
            assert (primary["error"], primary["reason"]) == (rejects[place].error, rejects[place].reason)


def sending(deployment: Deployment, events: list[Any], rate: float) -> threading.Thread:
    thread = threading.Thread(target=deployment.send, args=(events, rate))
    thread.start()
    return thread


def test_each_result_of_the_worker_is_paired_once(
    deploy: Deploy, rows: Rows, candidate: Path, protocol: str
) -> None:
    """Two shadows share the partitions; whichever protocol, those of all topics come together."""
    deployment = shadowed(deploy, candidate, kafka={"group_protocol": protocol})
    deployment.send(mixed(rows(1500), 100))
    deployment.start()
    first = deployment.start("shadow")
    second = deployment.start("shadow")
    deployment.send(mixed(rows(1500, start=1500), 100))
    wait_compared(deployment)
    metrics = [shadow.get("metrics").text for shadow in (first, second)]
    second.wait_until(
        lambda: sorted([p for one in (first, second) for p in one.facts().get("owned", ())]) == [0, 1, 2]
    )
    codes = [first.stop(), second.stop()]
    found = both(deployment, candidate)
    neither = [pair for pair in found.pairs if pair["primary"]["error"] and pair["shadow"]["error"]]
    flipped = [pair for pair in found.pairs if pair["agreement"] is False]

    assert codes == [0, 0]
    assert {(p["source_partition"], p["source_offset"]) for p in found.pairs} == found.results
    assert len(found.pairs) == 3030
    assert len(neither) == 30
    assert all(pair["delta"] is None and pair["agreement"] is None for pair in neither)
    assert flipped
    assert all(
        bool(pair[side]["contributions"]) == pair[side]["is_anomaly"]
        for pair in flipped
        for side in ("primary", "shadow")
    )
    assert all("stream_infer_compared_total" in text for text in metrics)


def test_kill_9_of_worker_and_shadow_and_rebalances_of_both(
    deploy: Deploy, rows: Rows, candidate: Path
) -> None:
    settings = {"state": {"flush_interval_s": 0.5}, "shadow": {"held_bytes": LITTLE}}
    deployment = shadowed(deploy, candidate, partitions=4, **settings)
    slot = {"DELIVERY__SLOT": "0"}
    worker = deployment.start(**slot)
    shadows = [deployment.start("shadow"), deployment.start("shadow", ready=False)]
    thread = sending(deployment, list(mixed(rows(6000), 300)), 1500)
    time.sleep(1.0)
    worker.kill()
    shadows[0].kill()
    deployment.start(ready=False, **slot)
    deployment.start("shadow", ready=False)
    thread.join()
    wait_compared(deployment)
    found = both(deployment, candidate)

    assert {(p["source_partition"], p["source_offset"]) for p in found.pairs} == found.results
    assert len(found.pairs) == 6020


def test_the_side_that_is_ahead_waits(deploy: Deploy, rows: Rows, candidate: Path) -> None:
    """The input alone is more than may be held: much of it is left with the brokers until the worker has decided."""
    settings = {"batch": {"max_events": 100}, "shadow": {"held_bytes": LITTLE}}
    deployment = shadowed(deploy, candidate, partitions=1, **settings)
    events = rows(8000)
    deployment.send(events)
    shadow = deployment.start("shadow")
    shadow.wait_until(lambda: held_bytes(shadow) > LITTLE // 4)
    time.sleep(3)  # in which a shadow that does not wait reads all of it
    most = held_bytes(shadow)
    deployment.start()
    wait_compared(deployment)

    assert most < LITTLE < sum(len(event.value or b"") for event in events)
    assert len(both(deployment, candidate).pairs) == 8000


def held_bytes(shadow: WorkerProcess) -> float:
    """What waits for the other side."""
    (said,) = re.findall(r"^stream_infer_held_bytes (\S+)$", shadow.get("metrics").text, re.MULTILINE)
    return float(said)


def test_a_shadow_that_starts_at_the_end_misses_nothing_after_it(
    deploy: Deploy, rows: Rows, candidate: Path
) -> None:
    """The worker lags: what it scores after the start, of events before, is not compared."""
    deployment = shadowed(deploy, candidate, shadow={"start": "latest"})
    deployment.send(rows(600))
    shadow = deployment.start("shadow", ready=False)
    deployment.wait_pinned(90, group_of(deployment))
    shadow.kill()
    deployment.send(rows(300, start=600))
    deployment.start()
    deployment.start("shadow")
    wait_compared(deployment)
    found = both(deployment, candidate)  # the warm-up makes its windows those of an undisturbed run

    assert {pair["event_id"] for pair in found.pairs} == {f"e-{number}" for number in range(600, 900)}


def test_two_candidates_start_at_a_time_and_where_the_primary_is(
    deploy: Deploy, rows: Rows, candidate: Path, model: Path
) -> None:
    """Side by side, into one comparison topic, each from its own place on."""
    deployment = shadowed(deploy, candidate)
    deployment.send(rows(600))
    deployment.start()
    deployment.wait_committed()
    time.sleep(0.1)
    began = datetime.now(UTC).isoformat()
    deployment.send(rows(300, start=600))
    deployment.wait_committed()
    other = {"SHADOW__ID": f"{deployment.app}-other", "SHADOW__STATE_TOPIC": f"{deployment.app}-other.state"}
    deployment.create_topics(**other)
    deployment.start("shadow", SHADOW__START=began)
    deployment.start("shadow", SHADOW__START="primary", SHADOW__MODEL=str(model), **other)
    deployment.send(rows(300, start=900))
    wait_compared(deployment)
    deployment.wait_committed(group=other["SHADOW__ID"])
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in stop_reading_at_end(deployment.servers, f"{deployment.topic}.compared"):
        pair = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), _COMPARISON, None)
        found[pair["shadow_id"]].append(pair)
    at_time, at_primary = found[group_of(deployment)], found[other["SHADOW__ID"]]

    assert sorted(p["event_id"] for p in at_time) == sorted(f"e-{number}" for number in range(600, 1200))
    assert sorted(p["event_id"] for p in at_primary) == sorted(f"e-{number}" for number in range(900, 1200))
    versions = [{p["shadow"]["model_version"] for p in pairs} for pairs in (at_time, at_primary)]
    assert versions == [{Artifact.load(path).manifest.version} for path in (candidate, model)]
    assert all(pair["delta"] == pytest.approx(0, abs=1e-5) for pair in at_primary)  # the same model twice


def test_the_primary_changes_version_in_mid_stream(
    deploy: Deploy, rows: Rows, detector: DirectoryRegistry, candidate: Path, tmp_path: Path
) -> None:
    """Each pair names both versions, and what they add up to is kept apart for each pair of versions."""
    followed = {"source": str(tmp_path / "models" / "detector@current"), "poll_interval_s": 0.1}
    deployment = shadowed(deploy, candidate, model=followed)
    worker = deployment.start()
    shadow = deployment.start("shadow")
    thread = sending(deployment, rows(3600), 1500)
    shadow.wait_until(lambda: shadow.facts().get("compared", 0) > 0)
    detector.point("current", "2")
    thread.join()
    worker.wait_until(lambda: worker.facts().get("version") == "2")
    deployment.send(rows(300, start=3600))
    wait_compared(deployment)
    found = both(deployment, candidate)
    page = deployment.folder / "report.html"
    report = ["compare", "report", "-c", deployment.config, "--from-topic", "-o", page]
    run(report, folder=deployment.folder)
    told = json.loads(page.with_suffix(".json").read_text("utf-8"))["comparisons"]

    own = Artifact.load(candidate).manifest
    assert {(p["shadow"]["model_name"], p["shadow"]["model_version"]) for p in found.pairs} == {
        (own.name, own.version)
    }
    courses: dict[int, list[str]] = defaultdict(list)
    for pair in found.pairs:
        courses[pair["source_partition"]].append(pair["primary"]["model_version"])
    assert all(course == sorted(course) for course in courses.values())
    assert set(chain.from_iterable(courses.values())) == {"1", "2"}
    assert len(told) == 2
    for one in told:
        pairs = [p for p in found.pairs if p["primary"]["model_version"] == one["primary"]["version"]]
        agreed = sum(pair["agreement"] for pair in pairs)
        assert (one["primary"]["name"], one["shadow"]["version"]) == ("detector", own.version)
        assert one["total"]["compared"] == len(pairs)
        assert one["total"]["agreement"] == agreed / len(pairs)


def test_repeats_of_an_at_least_once_worker_are_paired_once(
    deploy: Deploy, rows: Rows, candidate: Path
) -> None:
    deployment = shadowed(
        deploy, candidate, delivery={"mode": "at_least_once"}, shadow={"held_bytes": LITTLE}
    )
    first = deployment.start()
    thread = sending(deployment, rows(4000), 2000)
    time.sleep(1.0)
    first.kill()
    thread.join()
    deployment.start()
    deployment.wait_committed()
    deployment.start("shadow", DELIVERY__MODE="exactly_once")
    wait_compared(deployment)
    found = both(deployment, candidate)

    assert len(found.pairs) == 4000


def test_a_backtest_goes_over_a_range_and_ends(deploy: Deploy, rows: Rows, candidate: Path) -> None:
    """It is killed on the way, goes on where it was, and leaves neither state nor a group."""
    deployment = shadowed(deploy, candidate, partitions=2)
    deployment.send(mixed(rows(6000), 150))
    worker = deployment.start()
    deployment.wait_committed()
    worker.stop()
    command = ("shadow", "--from", "500", "--to", "2500")
    killed = deployment.start(*command, "--rate", "500")
    time.sleep(1.0)
    killed.kill()
    again = deployment.start(*command, ready=False)
    code = again.process.wait(150)
    found = both(deployment, candidate, "compared.backtest")
    inside = {place for place in found.results if 500 <= place[1] < 2500}

    assert code == 0, again.text()
    assert {(p["source_partition"], p["source_offset"]) for p in found.pairs} == inside
    assert "backtest" in again.text()


def test_topics_of_unequal_size_are_refused_with_what_mends_it(
    deploy: Deploy, candidate: Path, kafka: str
) -> None:
    deployment = shadowed(deploy, candidate, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka})
    grown = admin.create_partitions([NewPartitions(f"{deployment.topic}.scored", 3)])
    grown[f"{deployment.topic}.scored"].result(120)
    config = load(deployment.config, {})

    with pytest.raises(
        BrokerError, match=r"scored has 3 partitions, but .* has 2\. `stream-infer topics create"
    ):
        require(shadow_config(config), deployment.config)
