"""A shadow beside the worker: every result paired once, also with kill -9 of both, and how fast a backtest is."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, KafkaException
from numpy.typing import NDArray

from load.check import Framed, check, messages_of
from load.replay import events_of, offline_scores, send_events
from load.stand import Run, Stand
from load.topics import committed_count, end_count, group
from stream_infer.avro import schemas
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.delivery.source import batch_of

__all__ = ["Paired", "paired"]

_LONGEST_S = 900.0
_WANTED = ("source_partition", "source_offset", "primary.score", "shadow.score", "agreement")


@dataclass(frozen=True)
class Paired:
    """One run; ``worst`` is the shadow's largest difference to offline scores, relative to 1 or the score."""

    events: int
    scored: int
    pairs: int
    lost: int
    doubled: int
    agreement: float
    worst: float
    kills: int
    seconds: float
    backtest_seconds: float
    backtest_cpu_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.events:,} events, {self.scored:,} scored, {self.pairs:,} comparisons: {self.lost} lost, "
            f"{self.doubled} doubled, {self.kills} kills of both, {self.seconds:.0f} s; "
            f"agreement {self.agreement:.4f}; "
            f"largest difference of the shadow to offline scores {self.worst:.2g}\n"
            f"backtest of all: {self.backtest_seconds:.1f} s, {self.pairs / self.backtest_seconds:,.0f} events/s, "
            f"{self.backtest_cpu_seconds / self.pairs * 1e6:.1f} us of CPU each; the same pairs"
        )


@dataclass(frozen=True)
class _Pairs:
    """A comparison topic as columns; ``key`` as in load.check."""

    key: NDArray[np.int64]
    event_id: list[bytes]
    primary: NDArray[np.float64]
    shadow: NDArray[np.float64]
    agreement: NDArray[np.float64]


def paired(stand: Stand, data: Path, kills: int) -> Paired:
    """Replay the test rows through worker and shadow, each killed ``kills`` times on the way; then backtest it all."""
    candidate = stand.candidate()
    topic = stand.topic("paired")
    rows = list(events_of(data))
    began = time.monotonic()
    sender = threading.Thread(target=send_events, args=(stand.servers, topic, rows))
    sender.start()
    _work_off(stand, topic, candidate, len(rows), kills)
    sender.join()
    seconds = time.monotonic() - began
    live = _pairs(stand, f"{topic}.compared")
    scored = check(stand, topic)
    offline = offline_scores(stand, data, candidate)
    lost, doubled = _differences(live, scored.key)
    again_s, again_cpu_s = _backtest(stand, topic, candidate)
    again = _pairs(stand, f"{topic}.compared.backtest")
    if _differences(again, scored.key) != (0, 0) or not np.array_equal(again.shadow, live.shadow):
        raise RuntimeError(f"{topic}: the backtest says other than the shadow said live")
    worst = max(
        abs(score - offline[event]) / max(1.0, abs(offline[event]))
        for event, score in zip(live.event_id, live.shadow.tolist(), strict=True)
    )
    return Paired(
        len(rows),
        len(scored.key),
        len(live.key),
        lost,
        doubled,
        float(np.nanmean(live.agreement)),
        worst,
        kills,
        seconds,
        again_s,
        again_cpu_s,
    )


def _work_off(stand: Stand, topic: str, candidate: Path, total: int, kills: int) -> None:
    """Run worker and shadow until both have committed all. Each part done, both are killed and started again."""
    primary = _watcher(stand, group(topic))
    follower = _watcher(stand, f"{group(topic)}-shadow")
    deadline = time.monotonic() + _LONGEST_S

    def start() -> tuple[Run, Run]:
        slot = {"DELIVERY__SLOT": "0"}
        return stand.worker(topic, **slot), stand.shadow(topic, candidate, SHADOW__START="earliest", **slot)

    runs, killed = start(), 0
    try:
        while (done := committed_count(follower, topic)) < total or committed_count(primary, topic) < total:
            for run in runs:
                run.check()
            if killed < kills and done > total * (killed + 1) // (kills + 1):
                for run in runs:
                    run.kill()
                runs, killed = start(), killed + 1
            if time.monotonic() > deadline:
                raise RuntimeError(f"{done} of {total} events paired\n{runs[1].text()[-2000:]}")
            time.sleep(0.05)
    finally:
        primary.close()
        follower.close()
        for run in runs:
            run.stop()
    if killed < kills:
        raise RuntimeError(f"the shadow was done before kill {killed + 1} of {kills}")


def _backtest(stand: Stand, topic: str, candidate: Path) -> tuple[float, float]:
    """Go over the whole topic: seconds from the first written pair to the last, and the process's CPU seconds then."""
    written = f"{topic}.compared.backtest"
    run = stand.shadow(topic, candidate, "--from", "earliest")
    watcher = _watcher(stand, "ends")
    deadline = time.monotonic() + _LONGEST_S
    began_s = now_s = 0.0
    while run.alive():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the backtest does not end\n{run.text()[-2000:]}")
        with suppress(OSError, KafkaException):  # it has just ended; its topic is not there yet
            now_s = run.cpu_s()
            began_s = began_s or (now_s if end_count(watcher, written) else 0.0)
        time.sleep(0.05)
    watcher.close()
    run.wait(1)
    times = np.concatenate(
        [batch_of(messages).timestamp_ms for messages in messages_of(stand.servers, written)]
    )
    return float(times.max() - times.min()) / 1000, now_s - began_s


def _watcher(stand: Stand, name: str) -> Consumer:
    return Consumer({"bootstrap.servers": stand.servers, "group.id": name, "enable.auto.commit": False})


def _pairs(stand: Stand, topic: str) -> _Pairs:
    fields = Fields(_WANTED, len(_WANTED), "event_id", "time", None)
    decoder = Decoder(Framed(schemas.text("comparison")), fields)
    ids: list[bytes] = []
    parts = []
    for messages in messages_of(stand.servers, topic):
        columns = decoder.decode(batch_of(messages)).columns
        if len(columns) < len(messages):
            raise RuntimeError(f"{topic}: comparisons cannot be read")
        ids += [columns.entity[row] for row in range(len(columns))]
        parts.append(columns.features)
    values = np.concatenate(parts)
    key = values[:, 0].astype(np.int64) * 2**48 + values[:, 1].astype(np.int64)
    order = np.argsort(key, kind="stable")
    return _Pairs(
        key[order], [ids[i] for i in order.tolist()], values[order, 2], values[order, 3], values[order, 4]
    )


def _differences(pairs: _Pairs, scored: NDArray[np.int64]) -> tuple[int, int]:
    """How many results are not paired, and how many are paired more than once."""
    keys, counts = np.unique(pairs.key, return_counts=True)
    return len(np.setdiff1d(scored, keys)), int((counts > 1).sum())
