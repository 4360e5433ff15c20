"""Headers of rejects: whatever the record, they say what happened and can be read back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Position, Rejects
from stream_infer.rejects import PREFIX, Reject, foreign
from stream_infer.rejects.records import RejectRecords, schema_ids
from tests.rejected import headers_of

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
def test_each_of_our_names_comes_once(reject, original):
    names = [name for name, _ in headers_of(reject, original) if name.startswith(PREFIX)]
    assert len(names) == len(set(names))


@given(REJECTS)
def test_reasons_are_bounded_and_hold_no_control_character(reject):
    for _, value in headers_of(reject):
        text = value.decode("utf-8")
        assert len(value) <= 4 * 10 * 500
        assert not any(char in text for char in "\n\r\x1b\x00\u2028\x85")


def test_a_reason_from_a_stranger_cannot_forge_a_line():
    reject = Reject("decode", "bad", "x\r\n\x1b[31mERROR forged", Position("t", 0, 1), None, "1", -1, 0)
    reason = dict(headers_of(reject))["stream_infer.reason"]
    assert reason == rb"x\r\n\x1b[31mERROR forged"


@given(
    st.none()
    | st.lists(
        st.tuples(
            st.sampled_from(
                [
                    f"{PREFIX}{name}"
                    for name in (
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
                ]
            ),
            st.none() | st.binary(max_size=100) | st.integers().map(lambda n: str(n).encode()),
        ),
        max_size=14,
    )
)
def test_any_headers_can_be_read(headers):
    read = Reject.parse(headers)
    if read is not None:
        assert read.reason.isprintable()
        assert read.stage.isprintable()
        assert read.source.topic.isprintable()


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
        ("stream_infer.stage", b"decode"),
        ("stream_infer.error", b"truncated"),
        ("stream_infer.reason", b"ends in field a"),
        ("stream_infer.source_topic", b"events"),
        ("stream_infer.source_partition", b"3"),
        ("stream_infer.source_offset", b"41"),
        ("stream_infer.source_time", b"1700000000000"),
        ("stream_infer.schema_id", b"9"),
        ("stream_infer.model_version", b"7"),
        ("stream_infer.time", b"5"),
    ]


def test_bare_and_null_payloads_have_no_schema_id():
    found = Rejects.of([(0, Fault("decode", "e", "r"))])
    bare = RejectRecords("events", "7", framed=False)
    assert "stream_infer.schema_id" not in dict(bare.headers(batch(b"\x00\x00\x00\x00\x09", None), found)[0])
    framed = RejectRecords("events", "7", framed=True)
    assert "stream_infer.schema_id" not in dict(framed.headers(batch(None, None), found)[0])


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
