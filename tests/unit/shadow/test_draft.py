"""Both sides of each row: scores, or why there are none; who the event is; what contributed where they disagree."""

from __future__ import annotations

import numpy as np

from stream_infer.records import Batch, Blobs, Columns, Position, Scores, Text
from stream_infer.rejects import Reject
from stream_infer.shadow.draft import Draft, Work
from stream_infer.shadow.outcomes import REJECTED, SCORED, Outcomes

NOW_MS = 1_700_000_000_500


class Told:
    """Stands for the reader of single scored events: says what it was asked about."""

    def identity(self, payload: bytes) -> tuple[bytes, bytes, int]:
        return b"id of " + payload, b"entity of " + payload, 77

    def contributions(self, payload: bytes) -> bytes:
        return b"of " + payload

    def own_contributions(self, top, share) -> bytes:
        return b"own " + bytes(top.tolist())


def batch() -> Batch:
    """Five rows of one partition; the third has a key that is no text."""
    payloads = Blobs.of([b"a", b"b", None, b"d", b"e"])
    keys = Blobs.of([b"host", b"host", b"\xff", b"host", b"host"])
    offset = np.arange(10, 15)
    return Batch(
        payloads.data, payloads.ends, payloads.null, np.zeros(5, np.int32), offset, offset * 100, keys
    )


def outcomes(kinds: list[int], anomalies: list[bool]) -> Outcomes:
    rejects = {
        row: Reject("decode", "truncated", "too\nshort", Position("events", 0, 10 + row), 7, "v9", 0, 5)
        for row, kind in enumerate(kinds)
        if kind == REJECTED
    }
    numbers = np.array([[row + 0.5, 1.0, anomalous, 1] for row, anomalous in enumerate(anomalies)], float)
    scored = Blobs.of([b"s%d" % row for row in range(5)])
    log = batch()
    log = Batch(scored.data, scored.ends, scored.null, log.partition, log.offset, log.timestamp_ms, log.keys)
    gone = np.zeros(5, np.bool_)
    gone[4] = True
    model = [(b"", b"v9") if kind == REJECTED else (b"smd", b"v1") for kind in kinds]
    published = np.full(5, 1_700_000_000_000)
    return Outcomes(
        log.partition,
        log.offset,
        np.array(kinds, np.uint8),
        gone,
        numbers,
        published,
        model,
        rejects,
        [(0, log, np.arange(5))],
    )


def work() -> Work:
    """The shadow scored rows 0, 1 and 3; 2 and 4 it could not. Of the primary, 2 and 3 are rejects."""
    rows = np.array([0, 1, 3])
    columns = Columns(
        rows, Text.of([b"host"] * 3), Text.of([b"e0", b"e1", b"e3"]), rows * 7, np.zeros((3, 2))
    )
    yes = np.ones(3, np.bool_)
    scores = Scores(
        np.array([2.0, 3.0, 4.0]),
        np.full(3, 2.5),
        np.array([False, True, True]),
        np.array([[1, -1], [0, 1], [1, 0]], np.int32),
        np.zeros((3, 2), np.float32),
        yes,
        np.zeros(3, np.uint8),
        np.zeros(3, np.uint8),
    )
    refused = {2: ("null", "no bytes"), 4: ("null", "no bytes")}
    said = outcomes([SCORED, SCORED, REJECTED, REJECTED, SCORED], [True, False, False, False, True])
    return Work(batch(), np.arange(5), columns, scores, refused, said, np.arange(5))


def texts(column: Text) -> list[bytes]:
    return [column[row] for row in range(len(column))]


def test_a_row_has_both_sides_or_says_why_not():
    pairs = Draft(Told(), ("candidate", "v2"), lambda: NOW_MS).pairs(work())

    assert pairs.primary.scored.tolist() == [True, True, False, False, True]
    assert pairs.shadow.scored.tolist() == [True, True, False, True, False]
    assert pairs.primary.score[[0, 1, 4]].tolist() == [0.5, 1.5, 4.5]
    assert pairs.shadow.score[[0, 1, 3]].tolist() == [2.0, 3.0, 4.0]
    assert texts(pairs.primary.version) == [b"v1", b"v1", b"v9", b"v9", b"v1"]
    assert set(texts(pairs.shadow.version)) == {b"v2"}
    assert texts(pairs.primary.error) == [b"", b"", b"truncated", b"truncated", b""]
    assert texts(pairs.primary.reason)[2] == rb"too\nshort"
    assert texts(pairs.shadow.error) == [b"", b"", b"null", b"", b"gone"]
    assert set(pairs.shadow.published_ms.tolist()) == {NOW_MS}


def test_who_an_event_is_says_the_shadow_then_the_primary_then_the_record():
    pairs = Draft(Told(), ("candidate", "v2")).pairs(work())

    assert texts(pairs.event_id) == [b"e0", b"e1", b"", b"e3", b"id of s4"]
    assert texts(pairs.entity) == [b"host", b"host", "\ufffd".encode(), b"host", b"entity of s4"]
    assert pairs.time_ms.tolist() == [0, 7, 1200, 21, 77]
    assert pairs.input_ms.tolist() == [1000, 1100, 1200, 1300, 1400]


def test_contributions_are_those_of_the_side_that_disagrees():
    pairs = Draft(Told(), ("candidate", "v2")).pairs(work())

    assert texts(pairs.primary.contributions) == [b"of s0", b"", b"", b"", b""]
    assert texts(pairs.shadow.contributions) == [b"", b"own \x00\x01", b"", b"", b""]
