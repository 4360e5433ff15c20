"""Records of rejects: whatever is rejected of a batch, they are what a plain reading of the batch makes of it."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.log import escaped
from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Rejects
from stream_infer.rejects import PREFIX, foreign
from stream_infer.rejects.records import RejectRecords
from stream_infer.rejects.reject import NAME

INT64 = st.integers(-(2**63), 2**63 - 1)
BYTES = st.none() | st.binary(max_size=40) | st.binary(min_size=4, max_size=8).map(b"\0".__add__)
NAMES = (
    st.text(max_size=12)
    | st.text(max_size=3).map(PREFIX.__add__)
    | st.sampled_from(["a", PREFIX, PREFIX[:-1]])
)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=4)
FAULTS = st.builds(
    Fault,
    st.sampled_from(["decode", "window", "score"]),
    st.text(max_size=120),
    st.text(max_size=30) | st.text("ab\n", min_size=490, max_size=600),
)


@st.composite
def poisoned(draw, headers=HEADERS):
    """A batch, and some of its rows with what is wrong with them."""
    rows = draw(
        st.lists(st.tuples(BYTES, BYTES, INT64, INT64, st.integers(0, 2**31 - 1), headers), min_size=1)
    )
    values, keys, offsets, times, partitions, own = zip(*rows, strict=True)
    column = Blobs.of(values)
    batch = Batch(
        column.data,
        column.ends,
        column.null,
        np.array(partitions, np.int32),
        np.array(offsets, np.int64),
        np.array(times, np.int64),
        Blobs.of(keys),
        HeaderColumn.of(own) if any(own) else None,
    )
    bad = draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True).map(sorted))
    return batch, [(row, draw(FAULTS)) for row in bad]


def said(batch, row, fault, *, framed):
    """The headers of one reject, ours as what its JSON stands for."""
    value = batch.values[row] or b""
    ours = {
        "stage": fault.stage,
        "error": fault.error[:100],
        "reason": escaped(fault.reason, 500),
        "source_topic": "events",
        "source_partition": batch.partition[row],
        "source_offset": batch.offset[row],
        "source_time": batch.timestamp_ms[row],
        "model_version": "7",
        "time": 5,
    }
    if framed and len(value) >= 5 and value[0] == 0:
        ours["schema_id"] = int.from_bytes(value[1:5], "big")
    return [*foreign(None if batch.headers is None else batch.headers[row]), (NAME, ours)]


def read(headers):
    """Headers as ``said`` has them."""
    return [(name, json.loads(value) if name == NAME else value) for name, value in headers]


@given(poisoned(), st.booleans())
def test_records_are_those_of_the_batch_with_headers_that_say_why(drawn, framed):
    batch, found = drawn
    rows = [row for row, _ in found]
    outgoing = RejectRecords("events", "7", framed=framed, now_ms=lambda: 5)(batch, Rejects.of(found))

    assert list(outgoing.values) == [batch.values[row] for row in rows]
    assert outgoing.keys_of() == [batch.keys[row] for row in rows]
    assert outgoing.partition.tolist() == batch.partition[rows].tolist()
    assert list(map(read, outgoing.headers_of())) == [
        said(batch, row, fault, framed=framed) for row, fault in found
    ]


@given(poisoned(headers=st.just([])))
def test_a_batch_without_headers(drawn):
    batch, found = drawn
    column = RejectRecords("events", "7", framed=True, now_ms=lambda: 5).headers(batch, Rejects.of(found))

    assert [read(column[i]) for i in range(len(found))] == [said(batch, *one, framed=True) for one in found]


def test_a_name_that_is_no_text_stays_as_it_came():
    names = Blobs.of([b"\xff\xfe", PREFIX.encode() + b"\xff"])
    zero = np.zeros(1, np.int64)
    headers = HeaderColumn(np.array([2]), names, Blobs.of([b"kept", b"newer comes"]))
    batch = Batch(
        np.zeros(0, np.uint8), zero, zero > 0, np.zeros(1, np.int32), zero, zero, Blobs.of([None]), headers
    )
    column = RejectRecords("events", "7", framed=False).headers(
        batch, Rejects.of([(0, Fault("a", "b", "c"))])
    )

    assert list(column.names) == [b"\xff\xfe", NAME.encode()]


@given(st.lists(st.lists(st.tuples(st.integers(0, 10_000), FAULTS), max_size=8), max_size=4))
def test_merged_rejects_are_those_of_the_parts_by_row(parts):
    seen = set()
    parts = [[(row, f) for row, f in sorted(part) if not (row in seen or seen.add(row))] for part in parts]
    merged = Rejects.merged([Rejects.of(part) for part in parts])

    assert list(merged) == sorted(one for part in parts for one in part)
    assert sum(count for _, count in merged.counts()) == len(merged) == sum(map(len, parts))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_coded_rejects_have_the_fault_of_their_code(codes):
    rows = np.arange(len(codes))
    rejects = Rejects.coded(rows, np.array(codes, np.int64), lambda code: Fault("decode", str(code), ""))

    assert [(row, fault.error) for row, fault in rejects] == [
        (row, str(code)) for row, code in enumerate(codes)
    ]
    assert len(rejects.faults) == len(set(codes))
    kept = rejects.take(rows % 2 == 0)
    assert list(kept) == list(rejects)[::2]
