"""The headers of a reject: why a record could not be scored, beside its original key, value and headers.

    stream_infer.stage             decode, window or score
    stream_infer.error             class of the error, such as truncated
    stream_infer.reason            a sentence for people: control characters escaped, at most 500 characters
    stream_infer.source_topic      where the record came from: topic, partition, offset
    stream_infer.source_partition
    stream_infer.source_offset
    stream_infer.source_time       the record's timestamp in epoch ms, -1 where it had none
    stream_infer.schema_id         of its payload; missing where the payload does not begin with one
    stream_infer.model_version     of the model that would have scored it
    stream_infer.time              when it was rejected, in epoch ms

Values are text in UTF-8. A record that was rejected before, replayed, and rejected again carries the newest
of these headers only; all its other headers stay as they are.

    reject.py   Reject: what the headers say, read back
    records.py  RejectRecords: the records of a batch's rejects
    kernels.py  the loops that make them
"""

from stream_infer.rejects.reject import PREFIX, Reject, foreign

__all__ = ["PREFIX", "Reject", "foreign"]
