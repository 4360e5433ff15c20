"""From settings to compiled kernels on disk, without a broker and without a registry."""

from __future__ import annotations

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.source import SingleSchema
from stream_infer.build.events import fields_of
from stream_infer.build.kernels import compiling
from stream_infer.build.lane import lane_of
from stream_infer.build.model import model_of
from stream_infer.config import Config
from stream_infer.rejects.records import RejectRecords
from stream_infer.scorer import Scorer
from stream_infer.warm import warm_up
from stream_infer.windows.table import EntityTable

__all__ = ["warm"]

_NO_SCHEMA = "{}"


def warm(config: Config) -> None:
    """Run each stage of a worker of these settings once. Kernels depend on neither schemas nor weights.

    Raises ConfigError, ModelError.
    """
    with compiling(config):
        model, _ = model_of(config.model)
    lane_of(config)
    loaded, manifest = model.loaded, model.loaded.manifest
    scorer = Scorer(loaded.model, loaded.profiles, loaded.layout, EntityTable(loaded.layout, loaded.profiles))
    encoder = ScoredEncoder(None, manifest.features, manifest.name, manifest.version, config.input.topic)
    decoder = Decoder(SingleSchema(_NO_SCHEMA), fields_of(config, manifest.features))
    warm_up(loaded, decoder, scorer, encoder.encode, config.batch.max_events)
    RejectRecords(config.input.topic, manifest.version, framed=True).warm_up()
