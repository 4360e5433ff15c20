"""Metrics of a worker, each described once in METRICS (which is also docs/metrics.md).

The worker calls these methods once per batch or per event of its life, with counts: never per record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from stream_infer.records import Scores

__all__ = ["METRICS", "Metric", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Metric:
    """One metric: its name as scraped, what it counts, its labels, the upper bounds of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_LATENCY_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)

METRICS = (
    Metric("stream_infer_events_total", "counter", "Records polled; each ends as scored or rejected."),
    Metric("stream_infer_scored_total", "counter", "Events scored."),
    Metric("stream_infer_anomalies_total", "counter", "Scored events at or over their threshold."),
    Metric("stream_infer_alerts_total", "counter", "Alerts that began: one per anomaly, however long."),
    Metric(
        "stream_infer_rejects_total",
        "counter",
        "Records that could not be scored, by the stage and the error that said so.",
        ("stage", "error"),
    ),
    Metric("stream_infer_late_total", "counter", "Scored events older than their entity's newest event."),
    Metric(
        "stream_infer_repeated_total", "counter", "Scored events of the same time as their entity's newest."
    ),
    Metric("stream_infer_batch_events", "histogram", "Records per batch.", bounds=_EVENTS),
    Metric(
        "stream_infer_batches_total",
        "counter",
        "Batches, by what ended them: max_events, max_bytes, linger, or arrived (nothing more was there).",
        ("cut",),
    ),
    Metric("stream_infer_input_bytes_total", "counter", "Bytes of the payloads polled."),
    Metric(
        "stream_infer_stage_seconds_total",
        "counter",
        "Time the owner thread spent in each stage: poll, decode, window, score, judge, publish, "
        "and the steps of a commit: state, flush, offsets, commit.",
        ("stage",),
    ),
    Metric(
        "stream_infer_end_to_end_seconds",
        "histogram",
        "From the input record's timestamp to the commit that made its scored event readable.",
        bounds=_LATENCY_S,
    ),
    Metric(
        "stream_infer_lag_events",
        "gauge",
        "Records of an assigned partition that are not yet committed.",
        ("partition",),
    ),
    Metric("stream_infer_assigned_partitions", "gauge", "Partitions this worker owns."),
    Metric(
        "stream_infer_paused_partitions",
        "gauge",
        "Owned partitions that wait: for a restore, or for the registry to know a schema.",
    ),
    Metric("stream_infer_commits_total", "counter", "Transactions (or at-least-once commits) completed."),
    Metric("stream_infer_aborts_total", "counter", "Transactions aborted, by reason.", ("reason",)),
    Metric(
        "stream_infer_producer_rebuilds_total",
        "counter",
        "New producers after a fatal error or a commit of unknown outcome, by reason.",
        ("reason",),
    ),
    Metric(
        "stream_infer_rebalances_total",
        "counter",
        "Changes of the assignment, by what happened: assigned, revoked or lost.",
        ("event",),
    ),
    Metric(
        "stream_infer_suspect_partitions",
        "gauge",
        "Owned partitions where workers died before; their records are tried in the sandbox first.",
    ),
    Metric(
        "stream_infer_sandbox_deaths_total",
        "counter",
        "Times that records killed the sandbox. Those found guilty are rejects with the error process_killed.",
    ),
    Metric(
        "stream_infer_model_versions_total",
        "counter",
        "What became of new versions of a followed model: swapped or refused; no_answer: the registry gave none.",
        ("outcome",),
    ),
    Metric("stream_infer_state_entities", "gauge", "Entities remembered."),
    Metric("stream_infer_state_bytes", "gauge", "Memory of the entity table."),
    Metric("stream_infer_state_flushed_total", "counter", "Entity states written to the state topic."),
    Metric("stream_infer_state_expired_total", "counter", "Idle entities forgotten."),
    Metric("stream_infer_restores_total", "counter", "Partitions whose state was restored."),
    Metric("stream_infer_restore_seconds_total", "counter", "Time spent in restores."),
    Metric("stream_infer_restore_last_seconds", "gauge", "Time the newest restore took."),
    Metric(
        "stream_infer_replayed_total", "counter", "Records read again to rebuild state, output suppressed."
    ),
    Metric(
        "stream_infer_progress_age_seconds",
        "gauge",
        "Time since the loop last went round; the watchdog ends the process when it is too long.",
    ),
    Metric(
        "stream_infer_stalls_total",
        "counter",
        "Times that the watchdog ended the worker (exit code 8), earlier processes included: control.stalls_file.",
    ),
    Metric("stream_infer_ready", "gauge", "1 when every connection and the model can be used."),
    Metric(
        "stream_infer_model_info",
        "gauge",
        "Always 1; says which model scores. Of a followed one also the aliases that meant it when it was taken, where "
        "its registry has it, and the page of the run that made it.",
        ("name", "version", "device", "aliases", "uri", "run"),
    ),
    Metric(
        "stream_infer_compared_total",
        "counter",
        "Of a shadow: events compared, by what was found: agreed, disagreed, primary_only (the shadow has no score), "
        "shadow_only (the primary has none) or neither.",
        ("outcome",),
    ),
    Metric(
        "stream_infer_passed_over_total",
        "counter",
        "Of a shadow: events that the primary neither scored nor rejected; they are not compared.",
    ),
    Metric(
        "stream_infer_repeated_results_total",
        "counter",
        "Of a shadow: results of the primary that came a second time; the first counts.",
    ),
    Metric(
        "stream_infer_unusable_results_total",
        "counter",
        "Of a shadow: records of the primary's topics that are no result of an event of the input.",
    ),
    Metric("stream_infer_held_bytes", "gauge", "Of a shadow: memory of what waits for the other side."),
)


class Tallies(Collector):
    """A histogram that takes whole arrays: the client's own takes one value a call."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._bounds = np.asarray(metric.bounds, np.float64)
        self._counts = np.zeros(len(metric.bounds) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, values: NDArray[np.float64]) -> None:
        """Count these values; a value equal to a bound belongs under it."""
        found = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(found, minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(values.sum())

    def describe(self) -> list[HistogramMetricFamily]:
        """Name the metric without values, so that the registry sees doubles."""
        return [HistogramMetricFamily(self._metric.name, self._metric.text)]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give the counts as they are now."""
        with self._lock:
            counts, total = np.cumsum(self._counts), self._sum
        bounds = [*(f"{bound:g}" for bound in self._metric.bounds), "+Inf"]
        buckets = [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)]
        yield HistogramMetricFamily(self._metric.name, self._metric.text, buckets=buckets, sum_value=total)


class Metrics:
    """All metrics of one worker, in a registry of its own: several workers fit in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._made: dict[str, Any] = {metric.name: self._make(metric) for metric in METRICS}
        self._counted: dict[tuple[str, tuple[str, ...]], Any] = {}
        ProcessCollector(registry=self._registry)

    def polled(self, events_count: int, bytes_count: int, cut: str) -> None:
        """Count a batch as it was taken; ``cut``: max_events, max_bytes, linger or arrived."""
        self._inc("events_total", events_count)
        self._inc("input_bytes_total", bytes_count)
        self._inc("batches_total", 1, cut)
        self._made["stream_infer_batch_events"].observe(np.asarray([events_count], np.float64))

    def scored(self, scores: Scores) -> None:
        """Count the scored events of a batch."""
        self._inc("scored_total", len(scores))
        self._inc("anomalies_total", int(np.count_nonzero(scores.is_anomaly)))
        self._inc("alerts_total", int(np.count_nonzero(scores.alert == 1)))
        self._inc("late_total", int(np.count_nonzero(scores.time_order == 1)))
        self._inc("repeated_total", int(np.count_nonzero(scores.time_order == 2)))

    def rejected(self, stage: str, error: str, count: int) -> None:
        """Count rejects. ``error`` is a class named by the code, never by a payload."""
        self._inc("rejects_total", count, stage, error)

    def stage(self, name: str, seconds: float) -> None:
        """Add the time one stage took for a batch."""
        self._inc("stage_seconds_total", max(0.0, seconds), name)

    def delivered(self, timestamp_ms: NDArray[np.int64], now_ms: int) -> None:
        """Count the latencies of the events a commit made readable, but for records without a time (-1)."""
        known = timestamp_ms[timestamp_ms >= 0]
        if len(known):
            # A producer's clock may be ahead of ours: such events took no time at all.
            self._made["stream_infer_end_to_end_seconds"].observe(np.maximum(now_ms - known, 0) / 1000.0)

    def lag(self, events: Mapping[int, int]) -> None:
        """Set the lag of every assigned partition; partitions not named are no longer ours."""
        gauge = self._made["stream_infer_lag_events"]
        gauge.clear()
        for partition, count in events.items():
            gauge.labels(str(partition)).set(count)
        self._set("assigned_partitions", len(events))

    def paused(self, partitions_count: int) -> None:
        """Set how many owned partitions wait."""
        self._set("paused_partitions", partitions_count)

    def committed(self) -> None:
        """Count a completed commit."""
        self._inc("commits_total", 1)

    def aborted(self, reason: str) -> None:
        """Count an aborted transaction."""
        self._inc("aborts_total", 1, reason)

    def rebuilt(self, reason: str) -> None:
        """Count a new producer."""
        self._inc("producer_rebuilds_total", 1, reason)

    def rebalanced(self, event: str) -> None:
        """Count a change of the assignment: assigned, revoked or lost."""
        self._inc("rebalances_total", 1, event)

    def suspected(self, partitions_count: int, deaths_count: int) -> None:
        """Set how many partitions are suspect, and count deaths in the sandbox."""
        self._set("suspect_partitions", partitions_count)
        self._inc("sandbox_deaths_total", deaths_count)

    def state(self, entity_count: int, bytes_count: int) -> None:
        """Set the size of the entity table."""
        self._set("state_entities", entity_count)
        self._set("state_bytes", bytes_count)

    def flushed(self, entity_count: int, expired_count: int) -> None:
        """Count entity states written, and idle ones given a tombstone."""
        self._inc("state_flushed_total", entity_count)
        self._inc("state_expired_total", expired_count)

    def restored(self, partitions_count: int, seconds: float, replayed_count: int) -> None:
        """Count a restore and the records it read again."""
        self._inc("restores_total", partitions_count)
        self._inc("restore_seconds_total", seconds)
        self._inc("replayed_total", replayed_count)
        self._set("restore_last_seconds", seconds)

    def model(
        self,
        name: str,
        version: str,
        device: str,
        aliases: Sequence[str] = (),
        uri: str = "",
        run: str | None = None,
    ) -> None:
        """Say which model scores from now on."""
        gauge = self._made["stream_infer_model_info"]
        gauge.clear()
        gauge.labels(name, version, device, ",".join(aliases), uri, run or "").set(1)

    def followed(self, outcome: str) -> None:
        """Count what became of a new version of the model."""
        self._inc("model_versions_total", 1, outcome)

    def compared(self, outcomes: Mapping[str, int], passed_over_count: int) -> None:
        """Count compared events by outcome, and those that were not compared."""
        for outcome, count in outcomes.items():
            self._inc("compared_total", count, outcome)
        self._inc("passed_over_total", passed_over_count)

    def held(self, bytes_count: int, repeated_count: int, unusable_count: int) -> None:
        """Set the memory of what waits, and add results that came again or were none."""
        self._set("held_bytes", bytes_count)
        self._inc("repeated_results_total", repeated_count)
        self._inc("unusable_results_total", unusable_count)

    def stalled(self, count: int) -> None:
        """Count ends by the watchdog: those of earlier processes at the start, then this one's own."""
        self._inc("stalls_total", count)

    def watch(self, progress_age_s: Callable[[], float], ready: Callable[[], bool]) -> None:
        """Let each scrape ask for the loop's health."""
        self._made["stream_infer_progress_age_seconds"].set_function(progress_age_s)
        self._made["stream_infer_ready"].set_function(lambda: float(ready()))

    def value(self, name: str, /, **labels: str) -> float:
        """Return the present value of a metric by its scraped name, 0 where nothing was counted yet."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _make(self, metric: Metric) -> Any:
        if metric.kind == "histogram":
            histogram = Tallies(metric)
            self._registry.register(histogram)
            return histogram
        kind = Counter if metric.kind == "counter" else Gauge
        return kind(metric.name, metric.text, metric.labels, registry=self._registry)

    def _inc(self, name: str, amount: float, *labels: str) -> None:
        counted = self._counted.get((name, labels))
        if counted is None:
            metric = self._made[f"stream_infer_{name}"]
            counted = self._counted[name, labels] = metric.labels(*labels) if labels else metric
        counted.inc(amount)

    def _set(self, name: str, value: float) -> None:
        self._made[f"stream_infer_{name}"].set(value)
