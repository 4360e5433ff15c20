"""Every stage once before the first event, so that no event waits for a compiler.

Kernels are compiled on their first call and kept on disk; the model sizes its buffers for the batches it has seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stream_infer.assignment import Assignment
from stream_infer.avro.decoder import Decoder
from stream_infer.log import get_logger
from stream_infer.made_up import made_up
from stream_infer.models.loading import LoadedModel
from stream_infer.models.model import warm_up_model
from stream_infer.records import Batch, Columns, Scores
from stream_infer.scorer import Scorer

__all__ = ["Encode", "warm_up"]

_LOG = get_logger(__name__)


Encode = Callable[[Batch, Columns, Scores], object]
"""What the publishing stage does with scored rows before it writes."""


def warm_up(loaded: LoadedModel, decoder: Decoder, scorer: Scorer, encode: Encode, batch_events: int) -> None:
    """Compile and run every stage; ``batch_events`` is the largest batch the model will see."""
    began_at = time.perf_counter()
    _LOG.info("warming up, the first time on a machine takes some seconds")
    warm_up_model(loaded.model, (1, min(64, batch_events), batch_events))
    decoder.warm_up()
    scorer.warm_up()
    batch, columns, scores = made_up(loaded.layout.features)
    Assignment().admit(batch)
    encode(batch, columns, scores)
    _LOG.info("warm", took_s=time.perf_counter() - began_at)
