"""Rejects as the worker writes them."""

from __future__ import annotations

import numpy as np

from stream_infer.records import Batch, Blobs, Fault, HeaderColumn, Headers, Rejects
from stream_infer.rejects import Reject
from stream_infer.rejects.records import RejectRecords
from stream_infer.rejects.reject import HeaderList

__all__ = ["headers_of"]


def headers_of(reject: Reject, original: Headers = None) -> HeaderList:
    """The headers of this reject, of a record that had these."""
    value = b"" if reject.schema_id is None else b"\0" + reject.schema_id.to_bytes(4, "big")
    batch = Batch(
        np.frombuffer(value, np.uint8),
        np.asarray([len(value)]),
        np.asarray([False]),
        np.asarray([reject.source.partition], np.int32),
        np.asarray([reject.source.offset]),
        np.asarray([reject.source_time_ms]),
        Blobs.of([None]),
        None if original is None else HeaderColumn.of([original]),
    )
    make = RejectRecords(
        reject.source.topic, reject.model_version, framed=True, now_ms=lambda: reject.time_ms
    )
    return make.headers(batch, Rejects.of([(0, Fault(reject.stage, reject.error, reject.reason))]))[0]
