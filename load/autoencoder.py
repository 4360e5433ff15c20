"""The model of the measurements: an autoencoder F-128-32-128-F, so that their figures compare with those of others.

Its weights are drawn, not learned: what it costs does not depend on them. Profiles are calibrated on the traffic's own
rows through the worker's Scorer, as training does it, so that anomalies are as rare as in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from load.traffic import FIRST_MS, HOSTS, ROWS_PER_HOST, STEP_MS, Traffic, host
from stream_infer.models.artifact import Artifact
from stream_infer.models.calibrate import calibrate
from stream_infer.models.dataset import Dataset
from stream_infer.models.families import Series
from stream_infer.models.families.network import Dense, Network
from stream_infer.models.graph import Graph, build_graph
from stream_infer.models.manifest import Manifest, Term
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.models.train import standardise
from stream_infer.windows.profiles import Profiles

__all__ = ["WINDOW", "autoencoder", "flops_of"]

WINDOW = 5
_HIDDEN = (128, 32, 128)
_SEED = 38
_QUANTILE = 0.999
_USUAL_MIN = 0.5
_WIDE = 64
_TERM = Term(name="autoencoder", smoothing=0.2, clip=1000.0)


def flops_of(width: int) -> int:
    """Multiplications and additions that one event takes."""
    sizes = (width, *_HIDDEN, width)
    return 2 * sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def autoencoder(traffic: Traffic) -> Artifact:
    """The model for this traffic; the same traffic gives the same bytes."""
    data = _data(traffic)
    rows = np.arange(len(data))
    known = standardise(data, rows, rows_min=1)
    network = _NewestRow(_network(traffic.width))
    content = build_graph(WINDOW, traffic.width, [network])
    manifest = Manifest(
        name="autoencoder",
        version="1",
        family="autoencoder",
        features=traffic.features,
        window=WINDOW,
        missing="impute",
        terms=(_TERM,),
        data_fingerprint=data.fingerprint(rows),
        metrics={},
        files={},
    )
    standard = known.standard
    error_sd = network.usual(known.series)
    profiles = Profiles(
        names=known.names,
        center=np.vstack([standard.center, standard.fleet_center]),
        spread=np.vstack([standard.spread, standard.fleet_spread]),
        error_sd=np.concatenate([error_sd, np.median(error_sd, axis=0, keepdims=True)])[:, None],
        scale=np.ones((HOSTS + 1, 1)),
        threshold=np.zeros(HOSTS + 1),
    )
    model = OnnxModel.open(content, (manifest.name, manifest.version), manifest.layout)
    profiles = calibrate(model, profiles, data, rows, _QUANTILE, lambda _: None)
    return Artifact.of(manifest, content, profiles)


@dataclass(frozen=True)
class _NewestRow:
    """How far the newest row is from what comes out of a network."""

    network: Network

    def node(self, graph: Graph) -> str:
        """|row - network(row)| as a term (n, 1, F)."""
        row = graph.flat(1)
        left = graph.apply("Sub", row, self.network.node(graph, row))
        return graph.reshape(graph.apply("Abs", left), -1, 1, self.network.inputs)

    def usual(self, series: Series) -> NDArray[np.float32]:
        """Root mean square of the errors per entity and feature (E, F), at least 0.5."""
        squares = [np.mean(np.square(rows - self.network.outputs(rows)), axis=0) for rows in series]
        return np.maximum(np.sqrt(squares), _USUAL_MIN).astype(np.float32)


def _network(width: int) -> Network:
    random = np.random.default_rng(_SEED)

    def layer(inputs: int, outputs: int) -> Dense:
        weights = random.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        return weights.astype(np.float32), (random.standard_normal(outputs) * 0.1).astype(np.float32)

    first, second, third, fourth = (layer(*sizes) for sizes in pairwise((width, *_HIDDEN, width)))
    return Network((first, second, third, fourth))


def _data(traffic: Traffic) -> Dataset:
    """Every row of every host, before the first event; of wide ones the first, for time's sake."""
    rows = ROWS_PER_HOST if traffic.width <= _WIDE else ROWS_PER_HOST * _WIDE // traffic.width
    entity = np.repeat(np.arange(HOSTS), rows)
    seq = np.tile(np.arange(rows), HOSTS)
    return Dataset(
        entities=tuple(host(number) for number in range(HOSTS)),
        feature_names=traffic.features,
        entity=entity.astype(np.int32),
        seq=seq,
        time_ms=FIRST_MS + (seq - ROWS_PER_HOST) * STEP_MS,
        features=traffic.rows(entity, seq),
    )
