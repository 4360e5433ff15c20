"""Reads a settled run back and judges it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Message

from load.check import Framed
from load.events import SCHEMA
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.delivery.source import batch_of
from stream_infer.models.loading import load_model
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable
from tests.chaos.checker import Findings, judge
from tests.chaos.evidence import Evidence, Input
from tests.chaos.reader import OutputReader, Reader, Topics, event_numbers, offsets_of, poison_number
from tests.chaos.rig import Rig

__all__ = ["check", "gather"]

_OPEN_FOR_S = 60.0


def check(rig: Rig) -> tuple[Findings, Evidence]:
    """Judge a rig after ``settle``."""
    evidence = gather(rig)
    return judge(evidence), evidence


def gather(rig: Rig) -> Evidence:
    """Everything the checker needs. Waits out transactions that dead workers left open."""
    servers, places = rig.cluster.servers, rig.topics.outputs
    open_transactions = _wait_stable(rig)
    ends = offsets_of(servers, places, "read_uncommitted")
    if open_transactions:
        ends = offsets_of(servers, places, "read_committed")
    rig.live.finish(ends)
    fresh = OutputReader(servers, rig.topics)
    fresh.start()
    fresh.finish(ends)
    committed, input_ends = rig.progress()
    acked = rig.ledger.acked
    return Evidence(
        np.array(acked.number, np.int64),
        acked.source,
        set(rig.ledger.indeterminate),
        _input(rig),
        rig.live.outputs(),
        fresh.outputs(),
        fresh.manifests,
        committed,
        input_ends,
        open_transactions,
        rig.samples,
    )


def _wait_stable(rig: Rig) -> list[str]:
    """Wait until every output partition is stable to its end; names those where a transaction stays open."""
    deadline = time.monotonic() + _OPEN_FOR_S
    while True:
        ends = offsets_of(rig.cluster.servers, rig.topics.outputs, "read_uncommitted")
        stable = offsets_of(rig.cluster.servers, rig.topics.outputs, "read_committed")
        unstable = [f"{topic}[{p}]" for (topic, p), end in ends.items() if stable[topic, p] < end]
        if not unstable or time.monotonic() > deadline:
            return unstable
        time.sleep(0.5)


class InputReader(Reader):
    """Reads the input topic and scores it anew, without a worker: one pass, nothing ever restored."""

    def __init__(self, servers: str, topics: Topics, model: Path, deadly: set[int]) -> None:
        super().__init__(servers, [(topics.input, p) for p in range(topics.partitions)], "read_uncommitted")
        loaded = load_model(model)
        fields = Fields("features", loaded.layout.features, "entity_id", "ts", "event_id")
        self._decoder = Decoder(Framed(SCHEMA), fields)
        table = EntityTable(loaded.layout, loaded.profiles)
        self._scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, table)
        self._deadly = np.fromiter(deadly, np.int64, len(deadly))
        self._parts: list[tuple[Any, ...]] = []

    def take(self, topic: str, messages: list[Message], now_s: float) -> None:
        batch = batch_of(messages)
        number = np.fromiter((poison_number(key) for key in batch.keys), np.int64, len(batch))
        columns = self._decoder.decode(batch).columns
        assert columns.event_id is not None
        deadly = np.isin(number[columns.rows], self._deadly)
        if deadly.any():
            columns = columns.take(~deadly)
        number[columns.rows] = event_numbers(columns.event_id)
        score = np.full(len(batch), np.nan)
        kept, found, _ = self._scorer.score(
            columns, batch.partition[columns.rows], batch.offset[columns.rows]
        )
        score[columns.rows[kept]] = found.score
        self._parts.append((batch.partition, batch.offset, number, score))

    def input(self) -> Input:
        """The whole topic, sorted."""
        columns = [np.concatenate(each) for each in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        return Input(*(column[order] for column in columns))


def _input(rig: Rig) -> Input:
    reader = InputReader(rig.cluster.servers, rig.topics, rig.deployment.model, rig.ledger.deadly)
    places = [(rig.topics.input, p) for p in range(rig.options.partitions)]
    reader.start()
    reader.finish(offsets_of(rig.cluster.servers, places, "read_uncommitted"))
    return reader.input()
