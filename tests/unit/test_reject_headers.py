"""The header of a reject: whatever the record, it says what happened and can be read back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Position, Rejects
from stream_infer.rejects import PREFIX, Reject, foreign
from stream_infer.rejects.records import RejectRecords, schema_ids
from stream_infer.rejects.reject import NAME
from tests.rejected import headers_of

MEMBERS = (
    "stage",
    "error",
    "reason",
    "source_topic",
    "source_partition",
    "source_offset",
    "source_time",
    "schema_id",
    "model_version",
    "time",
)
INT64 = st.integers(-1, 2**63 - 1)
HEADERS = st.lists(
    st.tuples(
        st.one_of(st.text(max_size=30), st.text(max_size=10).map(PREFIX.__add__)), st.none() | st.binary()
    ),
    max_size=8,
)
REJECTS = st.builds(
    Reject,
    st.sampled_from(["decode", "window", "score"]),
    st.sampled_from(["truncated", "feature_count", "not_finite"]),
    st.text(max_size=2000),
    st.builds(
        Position,
        st.text("abcXYZ019._-", min_size=1, max_size=249),
        st.integers(0, 2**31 - 1),
        st.integers(0, 2**63 - 1),
    ),
    st.none() | st.integers(0, 2**32 - 1),
    st.text("abc019.+-", max_size=50),
    INT64,
    INT64,
)


@given(REJECTS, HEADERS)
def test_what_is_written_is_read(reject, original):
    headers = headers_of(reject, original)
    read = Reject.parse(headers)
    assert read is not None
    for name in ("stage", "error", "source", "schema_id", "model_version", "source_time_ms", "time_ms"):
        assert getattr(read, name) == getattr(reject, name)
    assert foreign(headers) == [(name, value) for name, value in original if not name.startswith(PREFIX)]


@given(REJECTS, HEADERS)
def test_our_name_comes_once(reject, original):
    assert [name for name, _ in headers_of(reject, original) if name.startswith(PREFIX)] == [NAME]


@given(REJECTS)
def test_reasons_are_bounded_and_hold_no_control_character(reject):
    for _, value in headers_of(reject):
        text = value.decode("utf-8")
        assert len(value) <= 4 * 10 * 500
        assert not any(char in text for char in "\n\r\x1b\x00\u2028\x85")


def test_a_reason_from_a_stranger_cannot_forge_a_line():
    reject = Reject("decode", "bad", "x\r\n\x1b[31mERROR forged", Position("t", 0, 1), None, "1", -1, 0)
    assert ours(headers_of(reject))["reason"] == r"x\r\n\x1b[31mERROR forged"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner),
    max_leaves=20,
)


@given(st.one_of(st.none(), st.binary(max_size=100), JSON.map(json.dumps).map(str.encode)))
def test_any_header_can_be_read(value):
    read = Reject.parse([(NAME, value)])
    if read is not None:
        assert read.reason.isprintable()
        assert read.stage.isprintable()
        assert read.source.topic.isprintable()


@given(REJECTS, st.sampled_from(MEMBERS), JSON)
def test_a_header_that_was_tampered_with_can_be_read(reject, member, value):
    said = ours(headers_of(reject)) | {member: value}
    read = Reject.parse([(NAME, json.dumps(said).encode())])
    if read is not None:
        assert read.reason.isprintable()
        assert read.source.topic.isprintable()


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 16_000,
        b'{"a":' * 3_000,
        b"9" * 16_000,
        b'{"stage":"decode","error":"e","source_topic":"t","source_partition":0,"source_offset":1e9}',
        b'{"stage":"decode","error":"e","source_topic":"t","source_partition":true,"source_offset":1}',
        b'{"stage":"decode","error":"e","source_topic":"t","source_partition":0,"source_offset":9223372036854775808}',
        b'{"stage":"decode","error":"e","source_partition":0,"source_offset":1}',
        b'{"stage":"decode","error":"e","source_topic":"t","source_partition":0,"source_offset":1}'
        + b" " * 16_384,
    ],
)
def test_what_is_no_reject_is_none(value):
    assert Reject.parse([(NAME, value)]) is None


def ours(headers):
    """What our header says."""
    return json.loads(dict(headers)[NAME])


def batch(value, headers):
    return Batch(
        np.frombuffer(value or b"", np.uint8),
        np.asarray([len(value or b"")]),
        np.asarray([value is None]),
        np.asarray([3], np.int32),
        np.asarray([41]),
        np.asarray([1_700_000_000_000]),
        Blobs.of([b"key"]),
        None if headers is None else HeaderColumn.of(headers),
    )


def test_headers_of_a_rejected_row():
    make = RejectRecords("events", "7", framed=True, now_ms=lambda: 5)
    own = [("traceparent", b"00-1-2-01"), ("stream_infer.stage", b"old"), ("empty", None)]
    found = Rejects.of([(0, Fault("decode", "truncated", "ends in field a"))])
    headers = make.headers(batch(b"\x00\x00\x00\x00\x09rest", [own]), found)
    assert headers[0] == [
        ("traceparent", b"00-1-2-01"),
        ("empty", None),
        (
            "stream_infer.reject",
            b'{"stage":"decode","error":"truncated","reason":"ends in field a","source_topic":"events",'
            b'"model_version":"7","time":5,"source_partition":3,"source_offset":41,"source_time":1700000000000,'
            b'"schema_id":9}',
        ),
    ]


def test_bare_and_null_payloads_have_no_schema_id():
    found = Rejects.of([(0, Fault("decode", "e", "r"))])
    bare = RejectRecords("events", "7", framed=False)
    assert "schema_id" not in ours(bare.headers(batch(b"\x00\x00\x00\x00\x09", None), found)[0])
    framed = RejectRecords("events", "7", framed=True)
    assert "schema_id" not in ours(framed.headers(batch(None, None), found)[0])


def test_rejects_of_a_batch_have_their_own_headers():
    """Rows with and without a schema id and headers of their own, not all of them, not in one stage."""
    own = [[("a", b"1")], [], [("b", None), ("c", b"3")], []]
    values = Blobs.of([b"\0\0\0\0\7x", b"\1", None, b"\0\0\0\1\0"])
    whole = Batch(
        values.data,
        values.ends,
        values.null,
        np.arange(4, dtype=np.int32),
        np.arange(10, 14),
        np.arange(20, 24),
        Blobs.of([None] * 4),
        HeaderColumn.of(own),
    )
    make = RejectRecords("events", "7", framed=True, now_ms=lambda: 5)
    rejects = [
        Reject("decode", "e", "r", Position("events", 0, 10), 7, "7", 20, 5),
        Reject("score", "f", "s", Position("events", 2, 12), None, "7", 22, 5),
        Reject("decode", "e", "r", Position("events", 3, 13), 256, "7", 23, 5),
    ]
    found = Rejects.of((r.source.partition, Fault(r.stage, r.error, r.reason)) for r in rejects)
    headers = make.headers(whole, found)

    assert [Reject.parse(headers[i]) for i in range(3)] == rejects
    assert [foreign(headers[i]) for i in range(3)] == [own[0], own[2], own[3]]


def test_schema_ids_need_five_bytes_and_a_zero():
    values = [
        b"\x00\x00\x00\x01\x00",
        b"\x00\x00\x00\x01",
        b"\x01\x00\x00\x01\x00",
        None,
        b"\x00\xff\xff\xff\xffrest",
    ]
    payloads = Blobs.of(values)
    zeros, keys = np.zeros(len(values), np.int64), Blobs.of([None] * len(values))
    partition = zeros.astype(np.int32)
    whole = Batch(payloads.data, payloads.ends, payloads.null, partition, zeros, zeros, keys)

    assert schema_ids(whole, np.arange(len(values))).tolist() == [256, -1, -1, -1, 2**32 - 1]
    assert schema_ids(whole, np.arange(0)).tolist() == []
