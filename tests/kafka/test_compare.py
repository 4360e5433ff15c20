"""The analysts' app on the real broker: killed in mid-stream, restarted, equal to the report of the same records."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pyarrow.parquet as pq
import pytest

from stream_infer.avro import schemas
from stream_infer.embedded import EmbeddedKafka
from stream_infer.embedded.ports import free_ports
from tests.kafka.comparisons import Writer, create, records, summary
from tests.kafka.deployment import stop_reading_at_end
from tests.program import Forked, fork, run

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 3
DEADLINE_S = 300.0

_SETTINGS = """
[app]
id = "{app}"
[kafka]
bootstrap_servers = "{servers}"
[registry]
dir = "schemas"
[input]
topic = "{app}.events"
features = "features"
[model]
path = "model"
[compare]
minimum_events = 1000
min_agreement = 0.9
max_rate_change = 1.0
block_s = 20
verdict_interval_s = 0.5
segments = ["odd: machine-1 machine-3 machine-5"]
"""


class Analysts:
    """A comparison topic, and `stream-infer compare` on it."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self.app = f"c{uuid.uuid4().hex[:8]}"
        self.port = free_ports(1)[0]
        self.topic = f"{self.app}.events.compared"
        self.config = folder / "worker.toml"
        (folder / "schemas").mkdir()
        self.config.write_text(_SETTINGS.format(app=self.app, servers=servers))
        create(servers, self.topic, PARTITIONS)
        self.writer = Writer(servers, self.topic, PARTITIONS)

    @contextmanager
    def watching(self, main: Callable[[Sequence[str]], None] | None = None) -> Iterator[Forked]:
        """Run the app until the block's end. One more of them has another port."""
        log = self.folder / f"compare-{self.port}.log"
        port = {"STREAM_INFER__COMPARE__PORT": str(self.port)}
        process = fork(["compare", "-c", self.config], log, log, environment=port, main=main)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def summary(self) -> dict[str, Any]:
        """The page; empty while there is none."""
        return summary(self.port)

    def wait(self, process: Forked, count: int) -> dict[str, Any]:
        """Wait until so many events are in the numbers, and these are of all partitions."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            content = self.summary()
            if content and events(content) >= count and content["is_whole"]:
                return content
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, (
                f"{events(content) if content else None} of {count}: {self.log()}"
            )
            time.sleep(0.3)

    def wait_told(self, process: Forked) -> dict[str, Any]:
        """Wait until the last verdicts in their topic are those of the page."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            content = self.summary()
            said = {versions_of(one): one["verdict"]["verdict"] for one in content.get("comparisons", [])}
            told = {versions: course[-1] for versions, course in self.told().items()}
            if said and told == said:
                return content
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"told {told}, and the page says {said}: {self.log()}"
            time.sleep(0.3)

    def told(self) -> dict[tuple[str, ...], list[str]]:
        """The verdicts in their topic, of each pair of versions, in their order."""
        found: dict[tuple[str, ...], list[str]] = {}
        for record in verdict_records(self.servers, f"{self.app}.events.verdicts"):
            key = record["shadow_id"], record["primary_version"], record["shadow_version"]
            found.setdefault(key, []).append(record["verdict"])
        return found

    def report(self, *source: str) -> dict[str, Any]:
        out = self.folder / "report.html"
        run(["compare", "report", "-c", self.config, *source, "-o", out], folder=self.folder)
        assert "<title>" in out.read_text("utf-8")
        return dict(json.loads(out.with_suffix(".json").read_text("utf-8")))

    def log(self) -> str:
        return (self.folder / f"compare-{self.port}.log").read_text("utf-8", "replace")


def events(content: dict[str, Any]) -> int:
    return sum(one["total"]["events"] for one in content["comparisons"])


def versions_of(one: dict[str, Any]) -> tuple[str, ...]:
    return one["shadow_id"], one["primary"]["version"], one["shadow"]["version"]


def numbers(content: dict[str, Any]) -> list[dict[str, Any]]:
    """What live and offline must agree on: everything but measures that need the whole course (labels are not set)."""
    return [
        {name: value for name, value in one.items() if name != "quality"} for one in content["comparisons"]
    ]


def verdict_records(servers: str, topic: str) -> list[dict[str, Any]]:
    schema = fastavro.parse_schema(json.loads(schemas.text("verdict")))
    found = []
    for message in stop_reading_at_end(servers, topic):
        value = message.value()
        assert int.from_bytes(value[1:5], "big") == schemas.IDS["verdict"]
        found.append(fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None))
    return found


def test_killed_and_restarted_the_numbers_are_those_of_the_report(kafka, tmp_path):
    analysts = Analysts(kafka, tmp_path)
    sent = analysts.writer.write(records(3000))
    with analysts.watching() as process:
        analysts.wait(process, 1)
        sent += analysts.writer.write(records(3000, seed=1, first=3000))
        analysts.wait(process, 3001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    # An aborted transaction: a reader of uncommitted records would count its events.
    analysts.writer.write(records(500, seed=2, first=6000), commit=False)
    sent += analysts.writer.write(records(1000, seed=3, first=6000))
    with analysts.watching() as process:
        analysts.wait(process, sent)
        restored = [int(cells) for cells in re.findall(r"recovered cells=(\d+)", analysts.log())]
        assert restored[-1] > 0, "the tables were not restored"
        live = analysts.wait_told(process)
        page = httpx.get(f"http://127.0.0.1:{analysts.port}/report", timeout=60).text
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, analysts.log()

    offline = analysts.report("--from-topic")
    assert events(live) == sent
    assert numbers(live) == numbers(offline)
    assert live["comparisons"][0]["verdict"]["verdict"] == "promote"
    assert "Promote the candidate" in page
    _only_changes_are_told(analysts)
    _the_export_says_the_same(analysts, offline, sent)


def test_it_ends_when_asked_to_though_kafka_is_gone(tmp_path):
    with EmbeddedKafka() as own:
        analysts = Analysts(own.bootstrap_servers, tmp_path)
        analysts.writer.write(records(100))
        with analysts.watching() as process:
            analysts.wait(process, 100)
            own.kill(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) in {0, 1}, analysts.log()


def _only_changes_are_told(analysts: Analysts) -> None:
    """Also over the restart."""
    told = analysts.told()
    for course in told.values():
        # A kill between a verdict's record and the note of it repeats that one.
        assert sum(one == other for one, other in pairwise(course)) <= 1, told


def _the_export_says_the_same(analysts: Analysts, offline: dict[str, Any], sent: int) -> None:
    pairs = analysts.folder / "pairs.parquet"
    run(["comparison", "export", "-c", analysts.config, "--to", pairs])
    assert pq.read_metadata(pairs).num_rows == sent
    assert numbers(analysts.report("--parquet", str(pairs))) == numbers(offline)
    # The example of the documentation runs on such a file.
    example = Path(__file__).parents[2] / "docs" / "examples" / "compare_duckdb.py"
    said = subprocess.run([sys.executable, example, pairs], check=True, capture_output=True, text=True)
    assert f"{sent:,} comparisons" in said.stdout
