"""One made-up batch through every stage before the first real one, so that no event waits for a compiler.

Kernels are compiled on their first call and kept on disk; the model sizes its buffers for the batches it has seen.
"""

from __future__ import annotations

import json
import struct
import time

import numpy as np

from stream_infer.assignment import Assignment
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SingleSchema
from stream_infer.log import get_logger
from stream_infer.models.loading import LoadedModel
from stream_infer.records import Batch
from stream_infer.scorer import Scorer
from stream_infer.windows.table import EntityTable

__all__ = ["warm_up"]

_LOG = get_logger(__name__)
_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "entity", "type": "string"},
            {"name": "features", "type": {"type": "array", "items": "double"}},
        ],
    }
)


def warm_up(loaded: LoadedModel, batch_events: int) -> None:
    """Compile and run every stage once, with an entity table of its own; ``batch_events``: the largest batch."""
    began_at = time.perf_counter()
    loaded.model.warm_up((1, min(64, batch_events), batch_events))
    _stages(loaded)
    _LOG.info("warm", took_s=time.perf_counter() - began_at)


def _stages(loaded: LoadedModel) -> None:
    features, table = loaded.layout.features, EntityTable(loaded.layout, loaded.profiles)
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, table)
    decoder = Decoder(SingleSchema(_SCHEMA), Fields("features", features, "entity", None, None))
    encoder = ScoredEncoder(None, loaded.manifest.features, loaded.model.name, loaded.model.version, "warm")
    batch = _batch(features)
    Assignment().admit(batch)
    columns = decoder.decode(batch).columns
    scored, scores, _ = scorer.score(columns, batch.partition[columns.rows], batch.offset[columns.rows])
    encoder.encode(batch, columns.take(scored), scores)
    scorer.warm_up()


def _batch(features: int) -> Batch:
    """Two rows of one entity, all features zero."""
    entity = b"\x08warm"
    count = features << 1
    varint = bytearray()
    while count > 127:
        varint.append(count & 127 | 128)
        count >>= 7
    varint.append(count)
    body = entity + bytes(varint) + struct.pack(f"<{features}d", *[0.0] * features) + b"\0"
    rows = 2
    return Batch(
        np.frombuffer(body * rows, np.uint8),
        np.arange(1, rows + 1, dtype=np.int64) * len(body),
        np.zeros(rows, np.bool_),
        np.zeros(rows, np.int32),
        np.arange(rows, dtype=np.int64),
        np.zeros(rows, np.int64),
        [body] * rows,
        [None] * rows,
    )
