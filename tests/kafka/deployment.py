"""A worker's surroundings on the real broker: topics, settings, events in, and the check of what came out."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_infer.avro import schemas as own_schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.directory import SchemaDirectory
from stream_infer.avro.fields import Fields
from stream_infer.delivery.source import batch_of
from stream_infer.models.loading import load_model
from stream_infer.rejects import Reject
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.program import PROGRAM, Forked, fork, run

SCHEMA_ID = 7
EVENT_SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "entity_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "features", "type": {"type": "array", "items": "float"}},
    ],
}
_PARSED = fastavro.parse_schema(EVENT_SCHEMA)
_SCORED = fastavro.parse_schema(json.loads(own_schemas.text("scored_event")))
_QUIET_S = 150.0
_PASSING = {
    KafkaError._DESTROY_BROKER,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
}
"""What brokers say while they start, and what no answer looks like."""


@dataclass(frozen=True)
class Event:
    """One record to send: a good one, or any bytes."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def encode(
    entity: str, ts: int, features: Sequence[float], event_id: str, schema_id: int = SCHEMA_ID
) -> Event:
    """A good event in the Confluent wire format."""
    body = io.BytesIO()
    body.write(b"\0" + schema_id.to_bytes(4, "big"))
    datum = {"event_id": event_id, "entity_id": entity, "ts": ts, "features": features}
    fastavro.schemaless_writer(body, _PARSED, datum)
    return Event(entity.encode(), body.getvalue())


def stop_reading_at_end(servers: str, topic: str, *, committed_only: bool = True) -> list[Message]:
    """Every record of a topic up to its present end, by partition and offset.

    The end is that of all records: what a worker killed in mid-transaction left open hides all that others wrote
    behind it, until the broker ends that transaction (after ``delivery.transaction_timeout_ms``).
    """
    unread = ends(servers, topic)
    consumer = _reader(servers, "read_committed" if committed_only else "read_uncommitted")
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in unread])
        found: list[Message] = []
        deadline = time.monotonic() + 120
        while unread:
            assert time.monotonic() < deadline, f"{topic}: not read to the ends {unread}"
            for message in consumer.consume(5000, 0.2):
                if message.error() is None:
                    found.append(message)
                    continue
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                if message.offset() >= unread.get(message.partition(), 0):
                    unread.pop(message.partition(), None)
        return sorted(found, key=lambda m: (m.partition(), m.offset()))
    finally:
        consumer.close()


def ends(servers: str, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends: one behind its last record or marker, of open transactions, too."""
    consumer = _reader(servers, "read_uncommitted")
    try:
        places = [
            TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=60).topics[topic].partitions
        ]
        deadline = time.monotonic() + 120
        while True:
            found = _answered(lambda: {p.partition: consumer.get_watermark_offsets(p, 10)[1] for p in places})
            if found is not None:
                return found
            assert time.monotonic() < deadline, f"{topic}: no ends of {places}"
            time.sleep(0.1)
    finally:
        consumer.close()


def _reader(servers: str, isolation: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"reader-{uuid.uuid4().hex}",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )


_UPSET = re.compile(r" (lost|rewound|new producer|new consumer|cannot seek) ")


class WorkerProcess:
    """``stream-infer run`` in a process of its own, or another command that serves until it is stopped."""

    process: Forked | subprocess.Popen[bytes]

    def __init__(
        self,
        config: Path,
        log: Path,
        environment: dict[str, str],
        command: Sequence[str] = ("run",),
        *,
        forked: bool = True,
    ) -> None:
        self.log = log
        log.touch()
        arguments = [*command, "-c", config]
        if forked:
            self.process = fork(arguments, log, log, environment=environment)
            return
        variables = {**os.environ, **environment}
        with log.open("ab") as sink:
            self.process = subprocess.Popen([PROGRAM, *arguments], stdout=sink, stderr=sink, env=variables)

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> dict[str, Any]:
        """The /status page; empty while there is none."""
        port = self._port()
        if port is None:
            return {}
        try:
            return dict(httpx.get(f"http://127.0.0.1:{port}/status", timeout=20).json())
        except httpx.HTTPError:
            return {}

    def upset(self) -> bool:
        """Whether more than rebalances happened to it, as on a machine that stood still: some events came twice."""
        return _UPSET.search(self.text()) is not None

    def facts(self) -> dict[str, Any]:
        """What /status says of it; empty while there is none."""
        return dict(self.status().get("facts", {}))

    def wait_until(self, true: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Wait for something that comes about while it runs."""
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, self.text()[-3000:]
            assert self.process.poll() is None, self.text()[-3000:]
            time.sleep(0.02)

    def get(self, page: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self._port()}/{page}", timeout=60)

    def wait_counted(self, *lines: str) -> None:
        """Wait until these lines are in /metrics, which may be after others see what they count."""
        deadline = time.monotonic() + 120
        while missing := [line for line in lines if f"{line}\n" not in (page := self.get("metrics").text)]:
            assert time.monotonic() < deadline, f"{missing} are not in the metrics:\n{page}"
            time.sleep(0.1)

    def wait_ready(self, timeout_s: float = 180.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.status().get("ready"):
            assert self.process.poll() is None, f"worker ended: {self.text()[-3000:]}"
            assert time.monotonic() < deadline, f"worker is not ready: {self.text()[-3000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as the OOM killer would."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 120.0) -> int:
        """Ask it to drain; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def _port(self) -> int | None:
        found = re.findall(r"control port=(\d+)\n", self.text())
        return int(found[-1]) if found else None


@dataclass
class Outcome:
    """What the output topics hold, against what went in."""

    sent: int
    scored: list[dict[str, Any]]
    rejects: list[Reject]
    rejected: list[Message]
    scored_messages: list[Message]


@dataclass
class Deployment:
    """Topics, schema folder and settings of one worker group with a unique name."""

    servers: str
    folder: Path
    model: Path
    partitions: int = 3
    app: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema_id: int = SCHEMA_ID
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"{self.app}.events"

    @property
    def topics(self) -> list[str]:
        own = [self.topic, *(f"{self.topic}.{name}" for name in ("scored", "rejected", "corrected"))]
        own.append(f"{self.app}.state")
        shadow = [f"{self.topic}.compared", f"{self.topic}.compared.backtest", f"{self.app}-shadow.state"]
        return own + shadow if "shadow" in self.settings else own

    def open(self) -> None:
        schemas = self.folder / "schemas"
        schemas.mkdir(parents=True, exist_ok=True)
        (schemas / f"{self.schema_id}-event.avsc").write_text(json.dumps(EVENT_SCHEMA))
        self.config.write_text(self._toml())
        self.create_topics()

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        try:
            admin.list_topics(timeout=2)
        except KafkaException:  # a broker of the test's own, gone by now
            return
        for future in admin.delete_topics(self.topics).values():
            future.exception(120)

    @property
    def config(self) -> Path:
        return self.folder / "worker.toml"

    def create_topics(self, **environment: str) -> None:
        """Make what is missing; settings of this call alone as SECTION__KEY=value."""
        create = ["topics", "create", "-c", self.config, "--input-partitions", self.partitions]
        run(create, environment=_prefixed(environment))

    def start(self, *command: str, ready: bool = True, **environment: str) -> WorkerProcess:
        """Start one more worker, or another command; settings of this one alone as SECTION__KEY=value."""
        prefixed = _prefixed(environment)
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(self.config, log, prefixed, command or ("run",))
        self.workers.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    def send(self, events: Iterable[Event], rate: float | None = None) -> int:
        """Produce events, their partition by their key; paced when a rate is given."""
        producer = Producer(
            {
                "bootstrap.servers": self.servers,
                "linger.ms": 5,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
            }
        )
        began, count = time.monotonic(), 0
        for count, event in enumerate(events, 1):
            while True:
                try:
                    producer.produce(self.topic, event.value, event.key, headers=list(event.headers) or None)
                    break
                except BufferError:
                    producer.poll(0.05)
            if rate is not None and count % 20 == 0:
                producer.poll(0)
                time.sleep(max(0.0, began + count / rate - time.monotonic()))
        assert producer.flush(60) == 0
        return count

    def wait_committed(self, timeout_s: float = _QUIET_S, group: str | None = None) -> None:
        """Wait until the committed offsets of the worker's group, or another, are the end of the input."""
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": group or self.app, "enable.auto.commit": False}
        )
        tps = [TopicPartition(self.topic, p) for p in range(self.partitions)]
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                ends = _answered(lambda: {p.partition: consumer.get_watermark_offsets(p, 10)[1] for p in tps})
                now = _answered(lambda: {p.partition: max(0, p.offset) for p in consumer.committed(tps, 5)})
                if ends is not None and ends == now:
                    return
                logs = "\n".join(worker.text()[-1500:] for worker in self.workers)
                assert any(worker.process.poll() is None for worker in self.workers), logs
                assert time.monotonic() < deadline, f"committed {now} of {ends}:\n{logs}"
                time.sleep(0.1)
        finally:
            consumer.close()

    def wait_pinned(self, timeout_s: float = 120.0, group: str | None = None) -> None:
        """Wait until the worker's group, or another, has committed where it starts."""
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": group or self.app, "enable.auto.commit": False}
        )
        tps = [TopicPartition(self.topic, p) for p in range(self.partitions)]
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                found = _answered(lambda: {tp.partition: tp.offset for tp in consumer.committed(tps, 10)})
                if found is not None and min(found.values()) >= 0:
                    return
                assert time.monotonic() < deadline, f"pinned at {found}"
                time.sleep(0.1)
        finally:
            consumer.close()

    def outcome(self) -> Outcome:
        """Read everything back and check the conservation law, the order, and every score."""
        source = stop_reading_at_end(self.servers, self.topic)
        scored_messages = stop_reading_at_end(self.servers, f"{self.topic}.scored")
        rejected = stop_reading_at_end(self.servers, f"{self.topic}.rejected")
        scored = [_scored(m) for m in scored_messages]
        rejects = [self._reject(m) for m in rejected]
        outcome = Outcome(len(source), scored, rejects, rejected, scored_messages)
        once = self.settings.get("delivery", {}).get("mode") != "at_least_once"
        _conserved(outcome, source, once=once)
        if once:
            _ordered(outcome)
        _scores_equal(outcome, self.recomputed(source))
        return outcome

    def recomputed(self, source: list[Message]) -> dict[tuple[int, int], float]:
        """Scores by position, from the input alone: one pass, no worker, no restart."""
        loaded = load_model(self.model)
        decoder = Decoder(
            SchemaDirectory(self.folder / "schemas"),
            Fields("features", loaded.layout.features, "entity_id", "ts", "event_id"),
        )
        scorer = Scorer(
            loaded.model, loaded.profiles, loaded.layout, EntityTable(loaded.layout, loaded.profiles)
        )
        batch = batch_of(source)
        columns = decoder.decode(batch).columns
        kept, scores, _ = scorer.score(columns, batch.partition[columns.rows], batch.offset[columns.rows])
        rows = columns.rows[kept]
        positions = zip(batch.partition[rows].tolist(), batch.offset[rows].tolist(), strict=True)
        return dict(zip(positions, scores.score.tolist(), strict=True))

    def _reject(self, message: Message) -> Reject:
        found = Reject.parse(message.headers())
        assert found is not None
        return found

    def _toml(self) -> str:
        sections: dict[str, dict[str, Any]] = {
            "app": {"id": self.app},
            "kafka": {"bootstrap_servers": self.servers},
            "registry": {"dir": "schemas"},
            "input": {
                "topic": self.topic,
                "entity": "entity_id",
                "time": "ts",
                "event_id": "event_id",
                "features": "features",
            },
            "output": {},
            "state": {"flush_interval_s": 1.0},
            "model": {"path": str(self.model)},
            "control": {"port": 0},
        }
        if "registry" in self.settings:
            del sections["registry"]
        if "source" in self.settings.get("model", {}):
            del sections["model"]["path"]
        if "shadow" in self.settings:
            # Other tests have the machine to the full, and shadows are killed on purpose.
            sections["shadow"] = {"priority": "normal", "restart_pause_s": 0}
        for section, values in self.settings.items():
            sections.setdefault(section, {}).update(values)
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join(lines) + "\n"


def _prefixed(settings: dict[str, str]) -> dict[str, str]:
    """Settings as SECTION__KEY=value, as the environment has them."""
    return {f"STREAM_INFER__{name}": value for name, value in settings.items()}


def _answered(ask: Callable[[], dict[int, int]]) -> dict[int, int] | None:
    """The answer; None while there is none, as a broker restarts or a dead worker's transaction is in doubt."""
    try:
        return ask()
    except KafkaException as failure:
        if failure.args[0].code() not in _PASSING:
            raise
        return None


def _scored(message: Message) -> dict[str, Any]:
    value = message.value()
    assert value[0] == 0
    return dict(fastavro.schemaless_reader(io.BytesIO(value[5:]), _SCORED, None))


def _conserved(outcome: Outcome, source: list[Message], *, once: bool) -> None:
    """Every input is scored or rejected; exactly once, or at least once."""
    sent = Counter((m.partition(), m.offset()) for m in source)
    out = Counter((e["source_partition"], e["source_offset"]) for e in outcome.scored)
    out += Counter((r.source.partition, r.source.offset) for r in outcome.rejects)
    lost = sorted(set(sent) - set(out))
    doubled = sorted(position for position, count in out.items() if count > 1)
    assert not lost, f"{len(lost)} events lost: {lost[:5]}"
    assert set(out) <= set(sent), "outputs of what was never an input"
    assert not (once and doubled), f"{len(doubled)} events doubled: {doubled[:5]}"


def _ordered(outcome: Outcome) -> None:
    """Each output partition holds the events of its input partition in their order."""
    last: dict[int, int] = {}
    for message, event in zip(outcome.scored_messages, outcome.scored, strict=True):
        assert message.partition() == event["source_partition"]
        assert event["source_offset"] > last.get(message.partition(), -1), "output order is not input order"
        last[message.partition()] = event["source_offset"]


def _scores_equal(outcome: Outcome, expected: dict[tuple[int, int], float]) -> None:
    """Streamed scores are those of an undisturbed run."""
    for event in outcome.scored:
        position = event["source_partition"], event["source_offset"]
        assert event["score"] == pytest.approx(expected[position], rel=1e-5, abs=1e-5), position
    assert {(e["source_partition"], e["source_offset"]) for e in outcome.scored} == set(expected)
