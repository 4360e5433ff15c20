"""Does the verdict find what was planted? Models made worse and better on purpose, and models that are equal.

A *hobbled* model learned from the same rows in random order: it knows the values of each entity, but not their course.
As a shadow of the good one it is to be kept out, as the primary it is to be replaced; both live, through worker, shadow
and the analysts' app. *Equal* models are the two of a run exchanged by coin, entity by entity and stretch by stretch:
each is the other as often as not, so whatever verdict there is, is wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from load.replay import events_of, send_events
from load.stand import Stand
from stream_infer.comparison.label_ledger import LabelLedger
from stream_infer.comparison.ledger import Windows
from stream_infer.comparison.pairs import Pairs, Versions
from stream_infer.comparison.segments import ALL, Segments
from stream_infer.comparison.verdict import KEEP, PROMOTE, UNDECIDED, Criteria, Evidence, judge

__all__ = ["CASES", "Equal", "Planted", "equal_runs", "hobbled", "offline_pairs", "planted", "scored_pairs"]

_LONGEST_S = 900.0
_COLUMNS = ("entity_id", "seq", "ts", "split", "label")

BLOCK_S = 3600
"""An incident of this data lasts about an hour."""

CASES = {"worse": KEEP, "better": PROMOTE}
"""What the candidate is, and the verdict it must get."""


@dataclass(frozen=True)
class Planted:
    """One case. ``equal``: live and offline say the same of everything, not of the verdict alone."""

    case: str
    expected: str
    events: int
    compared: int
    live: str
    offline: str
    equal: bool
    reason: str
    blocks: int
    first_verdict: str | None
    primary: dict[str, Any]
    shadow: dict[str, Any]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the verdict is the one that was to come, live and offline."""
        return self.live == self.offline == self.expected and self.equal


@dataclass(frozen=True)
class Equal:
    """``wrong`` of ``runs`` ever got a verdict while somebody looked after every block that tells the two apart."""

    runs: int
    wrong: int
    alpha: float
    blocks: int

    @property
    def is_within(self) -> bool:
        """Whether that is no more than alpha allows."""
        return self.wrong <= self.alpha * self.runs

    def __str__(self) -> str:
        return (
            f"{self.runs} runs of two equal models over {self.blocks} blocks, looked at after each: {self.wrong} "
            f"ever got a verdict, {self.wrong / self.runs:.1%}; alpha is {self.alpha:.1%}"
        )


def hobbled(data: Path, path: Path, seed: int = 0) -> Path:
    """Write the rows with the training rows of each entity in random order; all else is as it was."""
    table = pq.read_table(data)
    entity, split = (np.array(table[name].to_pylist()) for name in ("entity_id", "split"))
    order, rng = np.arange(len(entity)), np.random.default_rng(seed)
    for name in np.unique(entity):
        rows = np.flatnonzero((entity == name) & (split == "train"))
        order[rows] = rng.permutation(rows)
    moved = pa.array(order)
    columns = {n: table[n] if n in _COLUMNS else table[n].take(moved) for n in table.column_names}
    pq.write_table(pa.table(columns), path)
    return path


def planted(stand: Stand, data: Path, case: str) -> Planted:
    """Replay the test rows through worker, shadow and analysts' app until all is counted; then a report of the same."""
    good, bad = stand.model, _bad(stand, data)
    primary, candidate = (good, bad) if case == "worse" else (bad, good)
    topic, rows = stand.topic(case), list(events_of(data))
    criteria = {
        "COMPARE__LABELS": str(data.absolute()),
        "COMPARE__BLOCK_S": str(BLOCK_S),
        "COMPARE__VERDICT_INTERVAL_S": "1",
    }
    began_at = time.monotonic()
    worker = stand.worker(topic, MODEL__PATH=str(primary))
    shadow = stand.shadow(topic, candidate, SHADOW__START="earliest")
    app, page = stand.compare(topic, **criteria)
    sender = threading.Thread(target=send_events, args=(stand.servers, topic, rows))
    sender.start()
    runs, live = (worker, shadow, app), _summary(page)
    first: str | None = None
    deadline = began_at + _LONGEST_S
    try:
        while not _is_done(live, len(rows)):
            for run in runs:
                run.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{case}: {_counted(live)} of {len(rows)} counted\n{app.text()[-2000:]}")
            time.sleep(1.0)
            live = _summary(page)
            first = first or _first_verdict(live)
        seconds = time.monotonic() - began_at
    finally:
        sender.join()
        for run in runs:
            run.stop()
    offline = stand.report(topic, **criteria)
    ours, theirs = live["comparisons"][0], offline["comparisons"][0]
    theirs.pop("quality")
    return Planted(
        case,
        CASES[case],
        len(rows),
        ours["total"]["compared"],
        ours["verdict"]["verdict"],
        theirs["verdict"]["verdict"],
        ours == theirs,
        ours["verdict"]["reason"],
        ours["verdict"]["blocks"],
        first,
        ours["total"]["labels"]["primary"],
        ours["total"]["labels"]["shadow"],
        seconds,
    )


def _bad(stand: Stand, data: Path) -> Path:
    folder = stand.folder / "hobbled"
    if not folder.exists():
        rows = hobbled(data, stand.folder / "hobbled.parquet")
        stand.call("train", "--data", rows, "--out", folder, "--name", "hobbled")
    return folder


def _summary(page: str) -> dict[str, Any]:
    with suppress(httpx.HTTPError):
        return dict(httpx.get(f"{page}/summary", timeout=60).json())
    return {}


def _counted(live: dict[str, Any]) -> tuple[int, int]:
    """Events, and labelled ones."""
    totals = [one["total"] for one in live.get("comparisons", [])]
    labelled = sum(total["labels"]["events"] for total in totals if total["labels"])
    return sum(total["events"] for total in totals), labelled


def _is_done(live: dict[str, Any], events: int) -> bool:
    return bool(live.get("is_whole")) and _counted(live) == (events, events)


def _first_verdict(live: dict[str, Any]) -> str | None:
    """The verdict that somebody saw first, and how many events that took."""
    for one in live.get("comparisons", []):
        if live["is_whole"] and one["verdict"]["verdict"] != UNDECIDED:
            return f"{one['verdict']['verdict']} after {one['verdict']['events']:,} events"
    return None


def equal_runs(pairs: Pairs, runs: int, alpha: float, seed: int = 0) -> Equal:
    """Exchange the two models by coin in each run, and look at the verdict after every block."""
    criteria = Criteria(minimum_events=0, labelled=True, alpha=alpha)
    told = pairs.take(pairs.both & (pairs.primary_anomaly != pairs.shadow_anomaly))
    rng, wrong, blocks = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        ledger = LabelLedger(Windows(BLOCK_S, 1, 1), Segments({}, 0))
        ledger.add(_exchanged(told, rng))
        cells = {
            start: one
            for (_, name), starts in ledger.select("block").items()
            if name == ALL
            for start, one in starts.items()
        }
        evidence = Evidence.of(cells, BLOCK_S * 1000)
        blocks = max(blocks, len(evidence.number))
        wrong += any(judge(part, criteria).verdict != UNDECIDED for part in _looks(evidence))
    return Equal(runs, wrong, alpha, blocks)


def scored_pairs(stand: Stand, data: Path) -> Pairs:
    """What the good model and the hobbled one say of the test rows, by ``stream-infer score``."""
    paths = []
    for model in (stand.model, _bad(stand, data)):
        paths.append(stand.folder / f"{model.name}.parquet")
        stand.call("score", "--data", data, "--model", model, "--split", "test", "--out", paths[-1])
    return offline_pairs(*paths)


def _looks(evidence: Evidence) -> Iterator[Evidence]:
    for end in range(1, len(evidence.number) + 1):
        yield Evidence(*(getattr(evidence, one.name)[:end] for one in fields(Evidence)))


def _exchanged(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """The two sides exchanged where a coin says so: one for each entity and stretch as long as a block.

    Stretches of an entity begin at a place of its own, so that most of them go over the end of a block.
    """
    span_ms = BLOCK_S * 1000
    phase = rng.integers(0, span_ms, len(pairs.entity))
    stretch = (pairs.time_ms + phase[pairs.entity_code]) // span_ms
    _, which = np.unique(np.stack((pairs.entity_code, stretch)), axis=1, return_inverse=True)
    swap = (rng.random(which.max(initial=0) + 1) < 0.5)[which]
    sides: dict[str, Any] = {}
    for name in ("score", "threshold", "anomaly"):
        primary, shadow = getattr(pairs, f"primary_{name}"), getattr(pairs, f"shadow_{name}")
        sides[f"primary_{name}"] = np.where(swap, shadow, primary)
        sides[f"shadow_{name}"] = np.where(swap, primary, shadow)
    return replace(pairs, **sides)


def offline_pairs(primary: Path, shadow: Path) -> Pairs:
    """Pairs of two files that ``stream-infer score`` wrote of the same rows, with the labels of the rows."""
    ours, theirs = pq.read_table(primary), pq.read_table(shadow)
    count = len(ours)
    names, entity_code = np.unique(np.array(ours["entity"].to_pylist(), object), return_inverse=True)
    sides: dict[str, Any] = {}
    for side, table in (("primary", ours), ("shadow", theirs)):
        sides[f"{side}_score"] = table["score"].to_numpy()
        sides[f"{side}_threshold"] = table["threshold"].to_numpy()
        sides[f"{side}_anomaly"] = table["is_anomaly"].to_numpy().astype(np.int8)
        sides[f"{side}_latency_ms"] = np.full(count, np.nan)
        sides[f"{side}_error"] = np.full(count, "", object)
    return Pairs(
        partition=np.zeros(count, np.int32),
        offset=np.arange(count),
        event_id=np.full(count, "", object),
        time_ms=ours["time"].cast(pa.int64()).to_numpy(),
        entity=tuple(names.tolist()),
        entity_code=entity_code.astype(np.int64),
        versions=(Versions("equal", "one", "other"),),
        versions_code=np.zeros(count, np.int64),
        label=ours["label"].to_numpy(),
        names={},
        contributions=lambda _: ((), ()),
        **sides,
    )
