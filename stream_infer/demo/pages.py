"""What the worker says of itself over HTTP: its /status and /metrics."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from stream_infer.embedded.ports import HOST

__all__ = ["Pages", "WorkerFigures"]

_TIMEOUT_S = 1.0
_PORT_FIELD = "control port="


@dataclass(frozen=True)
class WorkerFigures:
    """Figures between two looks; ``batch_events`` is the mean size of the batches between them."""

    phase: str = "starting"
    lag_events: float = 0.0
    batch_events: float = 0.0
    commits_per_s: float = 0.0
    memory_bytes: float = 0.0
    cpu_share: float = 0.0


class Pages:
    """Asks the worker whose log is ``log``. A page that does not come is no error: the figures stay as they were."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port: int | None = None
        self._last: tuple[float, dict[str, float]] = (0.0, {})
        self._figures = WorkerFigures()

    @property
    def url(self) -> str | None:
        """Where the pages are; None while the worker has not said so."""
        if self._port is None and self._log.exists():
            for line in self._log.read_text("utf-8", "replace").splitlines():
                if _PORT_FIELD in line:
                    self._port = int(line.split(_PORT_FIELD)[1].split()[0])
        return None if self._port is None else f"http://{HOST}:{self._port}"

    def works_on(self, partitions_count: int) -> bool:
        """Whether the worker can use all it needs, and takes the events of so many partitions."""
        content = self._get("status")
        if content is None:
            return False
        status = _json(content)
        facts = status["facts"]
        owned, restoring = facts.get("owned", ()), facts.get("restoring", ())
        return bool(status["ready"]) and len(owned) == partitions_count and not restoring

    def look(self) -> WorkerFigures:
        """Ask for the figures of now."""
        status, metrics = self._get("status"), self._get("metrics")
        if status is None or metrics is None:
            return self._figures
        now_s, found = time.monotonic(), _totals(metrics)
        before_s, before = self._last

        def gained(name: str) -> float:
            return found.get(name, 0.0) - before.get(name, 0.0)

        seconds = max(1e-3, now_s - before_s)
        batches = gained("stream_infer_batch_events_count")
        self._figures = WorkerFigures(
            phase=str(_json(status)["phase"]),
            lag_events=found.get("stream_infer_lag_events", 0.0),
            batch_events=gained("stream_infer_batch_events_sum") / batches if batches else 0.0,
            commits_per_s=gained("stream_infer_commits_total") / seconds,
            memory_bytes=found.get("process_resident_memory_bytes", 0.0),
            cpu_share=gained("process_cpu_seconds_total") / seconds if before else 0.0,
        )
        self._last = (now_s, found)
        return self._figures

    def _get(self, page: str) -> str | None:
        if self.url is None:
            return None
        try:
            with urllib.request.urlopen(f"{self.url}/{page}", timeout=_TIMEOUT_S) as answer:  # noqa: S310 (loopback)
                return str(answer.read().decode())
        except (OSError, HTTPException):  # the latter: it died in the midst of its answer
            return None


def _json(text: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text)
    return content


def _totals(exposition: str) -> dict[str, float]:
    """Samples by name, summed over their labels."""
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals
