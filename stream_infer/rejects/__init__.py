"""The header of a reject: why a record could not be scored, beside its original key, value and headers.

``stream_infer.reject`` is a JSON object:

    stage             decode, window or score
    error             class of the error, such as truncated
    reason            a sentence for people: control characters escaped, at most 500 characters
    source_topic      where the record came from: topic, partition, offset
    source_partition
    source_offset
    source_time       the record's timestamp in epoch ms, -1 where it had none
    schema_id         of its payload; missing where the payload does not begin with one
    model_version     of the model that would have scored it
    time              when it was rejected, in epoch ms

A record that was rejected before, replayed, and rejected again carries the newest header only; all its other
headers stay as they are. Names that begin with ``stream_infer.`` are ours.

    reject.py   Reject: what the header says, read back
    records.py  RejectRecords: the records of a batch's rejects
    kernels.py  the loops that make them
"""

from stream_infer.rejects.reject import PREFIX, Reject, foreign

__all__ = ["PREFIX", "Reject", "foreign"]
