"""Labels that come while the analysts' app runs: late, changed, taken back, in a file and in a topic."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from tests.kafka.comparisons import ENTITIES, create, records
from tests.kafka.test_compare import DEADLINE_S, Analysts, numbers
from tests.program import Forked

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_FIRST_MS = 1_700_000_000_000


def write_file(path: Path, labels: dict[int, int]) -> None:
    """Labels by entity and time, in one step; ``labels`` by the number of the event."""
    columns = {
        "entity_id": [f"machine-{number % ENTITIES}" for number in labels],
        "ts": pa.array([_FIRST_MS + number * 1000 for number in labels], pa.timestamp("ms", "UTC")),
        "label": pa.array([int(value) for value in labels.values()], pa.int8()),
    }
    pq.write_table(pa.table(columns), path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def send(servers: str, topic: str, labels: list[dict[str, Any]]) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for label in labels:
        producer.produce(topic, json.dumps(label).encode(), str(label.get("event_id", "")).encode())
    assert producer.flush(60) == 0


def labelled(content: dict[str, Any]) -> list[tuple[int, int]]:
    """Labelled events, and anomalies among them, of each pair of versions."""
    found = [one["total"]["labels"] for one in content.get("comparisons", [])]
    return [(labels["events"], labels["anomalies"]) if labels else (0, 0) for labels in found]


def wait(analysts: Analysts, process: Forked, expected: dict[str, Any]) -> dict[str, Any]:
    """Wait until the app has as many labels as a report of now."""
    deadline = time.monotonic() + DEADLINE_S
    while labelled(content := analysts.summary()) != labelled(expected):
        assert process.poll() is None, analysts.log()
        assert time.monotonic() < deadline, f"{labelled(content)}, {labelled(expected)}: {analysts.log()}"
        time.sleep(0.3)
    return content


def test_labels_that_come_late_count_as_in_a_report_also_through_a_kill(kafka, tmp_path):
    analysts = Analysts(kafka, tmp_path)
    topic, file = f"{analysts.app}.labels", tmp_path / "labels.parquet"
    sources = f'[compare]\nlabels = "{file}"\nlabels_topic = "{topic}"\n'
    analysts.config.write_text(analysts.config.read_text().replace("[compare]\n", sources))
    create(kafka, topic, 2)
    write_file(file, {number: number % 3 == 0 for number in range(0, 600, 2)})
    send(kafka, topic, [{"event_id": "e-4000", "label": 1}])  # long before its event
    sent = analysts.writer.write(records(3000))
    with analysts.watching() as process:
        analysts.wait(process, sent)
        first = wait(analysts, process, analysts.report("--from-topic"))

        write_file(file, {number: number % 2 for number in range(500, 900)})
        late = [{"event_id": f"e-{number}", "label": int(number % 5 == 0)} for number in range(100, 2000, 7)]
        at = {"entity_id": f"machine-{2500 % ENTITIES}", "ts": _FIRST_MS + 2500 * 1000}
        send(kafka, topic, [*late, at | {"label": 1}, {"event_id": "e-107", "label": -1}, {"event_id": 7}])
        sent += analysts.writer.write(records(1500, seed=1, first=3000))
        analysts.wait(process, 3001)  # in the midst of it
        process.send_signal(signal.SIGKILL)
        process.wait()
    with analysts.watching() as process:
        analysts.wait(process, sent)
        send(kafka, topic, [{"event_id": f"e-{number}", "label": 1} for number in range(2600, 2640)])
        offline = analysts.report("--from-topic")
        live = wait(analysts, process, offline)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, analysts.log()

    assert sum(events for events, _ in labelled(first)) > 250
    assert sum(events for events, _ in labelled(live)) > 500
    assert numbers(live) == numbers(offline)
    assert "unreadable=1" in analysts.log()
