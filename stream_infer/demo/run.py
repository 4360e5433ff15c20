"""The demo from the first step to the summary."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from rich.console import Console

from stream_infer.avro.registry import Registry
from stream_infer.cache import cache_dir
from stream_infer.demo.audit import audit, measured
from stream_infer.demo.comparing import Compared, Comparing
from stream_infer.demo.pages import WorkerFigures
from stream_infer.demo.settings import Settings
from stream_infer.demo.signals import Signals
from stream_infer.demo.stage import Stage
from stream_infer.demo.steps import Steps
from stream_infer.demo.summary import Summary
from stream_infer.demo.traffic import Traffic
from stream_infer.demo.view import LiveView, PlainProgress
from stream_infer.demo.watch import Watch
from stream_infer.models.dataset import read_dataset

__all__ = ["run"]

_FRAME_S = 0.2
_LOOK_S = 1.0
_SILENCE_S = 30.0
_SWITCH_S = 0.001
_REGISTRY_S = 5.0
_STRONGEST = 3


def run(settings: Settings, console: Console, *, live: bool) -> Summary:
    """Play the demo. ``live``: draw on ``console``, which is a terminal; else print lines on it.

    Ctrl-C while events flow ends the flow and goes on to the summary. Whatever ends it, nothing is left
    running. Raises WorkerError for what cannot start, or ends by itself.
    """
    with Signals() as signals, ExitStack() as closing:
        with Steps(console) as steps:
            traffic = _traffic(settings, steps)
            stage = Stage(settings, traffic, steps)
            if settings.keep:
                closing.callback(lambda: console.print(f"kept: {stage.folder}", soft_wrap=True))
            closing.callback(signals.deafly, stage.close)
            stage.open()
        watch = Watch(stage.bootstrap_servers, stage.topics, settings.partitions, traffic.data)
        closing.callback(signals.deafly, watch.close)
        watch.open()
        comparing = _comparing(stage, settings, traffic)
        closing.callback(signals.deafly, comparing.close)
        comparing.open()
        places = f"{stage.pages.url}/metrics · Kafka {stage.bootstrap_servers}"
        shown = LiveView(console, len(traffic), places) if live else PlainProgress(console, len(traffic))
        with signals.patient(), shown:
            sent = _follow(stage, watch, comparing, shown, signals)
        compared = _compare_out(stage, comparing, sent)
        stage.stop("shadow")
        stage.stop("worker")
        watch.close()
        comparing.close()
        report = settings.report or cache_dir() / "demo-report.html"
        comparing.write_report(report)
        found = audit(stage.bootstrap_servers, stage.topics, settings.partitions, sent)
        quality = measured(traffic.data, found.scored)
        seconds, strongest = watch.span_s(), tuple(watch.strongest(_STRONGEST))
        return Summary(
            found, quality, watch.latency_ms(), seconds, settings.rate > 0, strongest, compared, report
        )


def _comparing(stage: Stage, settings: Settings, traffic: Traffic) -> Comparing:
    registry = Registry({"url": stage.registry_url}, _REGISTRY_S, None)
    return Comparing(
        stage.bootstrap_servers, stage.topics.compared, settings.partitions, registry, traffic.data
    )


def _traffic(settings: Settings, steps: Steps) -> Traffic:
    steps.begin("data")
    traffic = Traffic.plan(read_dataset(settings.data), settings.events_count, settings.broken)
    count = len(traffic.data.entities)
    steps.done("data", f"{settings.data.name}: {len(traffic):,} events of {count} machines to play")
    return traffic


def _follow(
    stage: Stage, watch: Watch, comparing: Comparing, shown: LiveView | PlainProgress, signals: Signals
) -> int:
    """Let events flow and show them until each has an outcome; returns how many were sent.

    Gives up when the producer is done and nothing comes any more: the audit then says what is lost.
    """
    # Drawing must not hold up the thread that measures latencies.
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    worker, looked_s, ending = WorkerFigures(), 0.0, False
    outcomes, moved_s, compared = 0, time.monotonic(), Compared()
    try:
        stage.go()
        while True:
            now_s = time.monotonic()
            if now_s - looked_s >= _LOOK_S:
                stage.check()
                worker, looked_s, compared = stage.pages.look(), now_s, comparing.standing()
            if signals.asked and not ending:
                ending = True
                stage.stop_producer()
            sent, seen = stage.sent_count(), watch.seen()
            if seen.outcomes > outcomes:
                outcomes, moved_s = seen.outcomes, now_s
            shown.update(seen, worker, compared, ending=ending)
            if sent is not None and (outcomes >= sent or now_s - moved_s > _SILENCE_S):
                return sent
            time.sleep(_FRAME_S)
    finally:
        sys.setswitchinterval(before_s)


def _compare_out(stage: Stage, comparing: Comparing, sent: int) -> Compared:
    """Wait until the shadow has compared every event, as long as it gets on."""
    compared, moved_s = comparing.standing(), time.monotonic()
    while compared.events < sent and time.monotonic() - moved_s < _SILENCE_S:
        stage.check()
        time.sleep(_FRAME_S)
        newer = comparing.standing()
        if newer.events > compared.events:
            moved_s = time.monotonic()
        compared = newer
    return compared
