"""What a batch costs in each stage between poll and commit, in this process: no broker, and no other thread.

A batch goes through decode, look-up, window, model, judge and encode as the worker takes it, and the CPU time of the
thread is read after each. Batch sizes and numbers of entities go in turns, so that whatever else the machine does
strikes all alike; told is the lower quartile over the turns. Beside them stands what no code can save: the bytes of a
row for each entity that a delivery changes, which an undo needs, copied in one piece.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from load.autoencoder import autoencoder
from load.traffic import HOSTS, SCHEMA_ID, Traffic
from stream_infer.avro.decoder import Decoder
from stream_infer.avro.encoder import ScoredEncoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.schema import SchemaText
from stream_infer.models.artifact import Artifact
from stream_infer.models.onnx_runtime import OnnxModel
from stream_infer.records import Batch, Blobs
from stream_infer.scorer import scores_of
from stream_infer.windows.memory import reserved
from stream_infer.windows.table import EntityTable

__all__ = ["BATCHES", "COUNTS", "STAGES", "StageCosts", "stage_costs"]

STAGES = ("decode", "look-up", "window", "model", "judge", "encode")
BATCHES = (30, 500, 2_000)
COUNTS = (HOSTS, 1_000, 10_000, 100_000, 1_000_000)
_PARTITIONS = 4
_TURN_EVENTS = 24_000
_FILL = 10_000


@dataclass(frozen=True)
class StageCosts:
    """``stage_us``: CPU time of each stage per event. Training saw the entities if there are no more than hosts.

    ``rows_us``: of copying as many rows as the events of a turn have entities, in one piece; per event.
    """

    entities: int
    batch: int
    stage_us: dict[str, float]
    rows_us: float

    @property
    def row(self) -> list[str]:
        """For a table: the stages, their sum, and that of look-up and window, which are dearer with many entities."""
        sums = (sum(self.stage_us.values()), self.stage_us["look-up"] + self.stage_us["window"])
        figures = (f"{us:.3f}" for us in (*self.stage_us.values(), *sums, self.rows_us))
        return [f"{self.entities:,}", f"{self.batch:,}", *figures]


def stage_costs(
    entities: Sequence[int], batches: Sequence[int], turns: int, say: Callable[[str], None]
) -> list[StageCosts]:
    """Time every stage with each number of entities and each size of batch."""
    artifact = autoencoder(Traffic())
    lines = []
    for count in entities:
        say(f"filling a table of {count:,} entities")
        lines.append(_Line(Traffic(entities=count, known=count <= HOSTS), artifact))
    taken: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for _ in range(turns):
        for line in lines:
            for size in batches:
                taken.setdefault((line.traffic.entities, size), []).append(line.turn(size))
    return [
        StageCosts(count, size, dict(zip(STAGES, us, strict=True)), rows_us)
        for (count, size), turns_us in taken.items()
        for *us, rows_us in [np.quantile(turns_us, 0.25, axis=0).tolist()]
    ]


class _Line:
    """The stages in a row, over a table that holds every entity."""

    def __init__(self, traffic: Traffic, artifact: Artifact) -> None:
        manifest, profiles = artifact.manifest, artifact.profiles
        self.traffic = traffic
        self._random = np.random.default_rng(traffic.entities)
        self._decoder = Decoder(
            _OneSchema(traffic.schema), Fields("features", traffic.width, "entity_id", "ts", "event_id")
        )
        self._table = EntityTable(manifest.layout, profiles)
        self._model = OnnxModel.open(artifact.model, (manifest.name, manifest.version), manifest.layout)
        self._encoder = ScoredEncoder(SCHEMA_ID, traffic.features, manifest.name, manifest.version, "events")
        self._rows = reserved(traffic.entities, (manifest.layout.row_length,), np.dtype(np.float32))
        self._rows.fill(1)
        self._copies = reserved(_TURN_EVENTS, (manifest.layout.row_length,), np.dtype(np.float32))
        self._sent = 0
        while self._sent < max(traffic.entities, _TURN_EVENTS):
            for batch in self._batches(_FILL, _FILL):
                self._work(batch)

    def turn(self, size: int) -> NDArray[np.float64]:
        """Microseconds of each stage per event, then of the copies of rows."""
        batches = list(self._batches(_TURN_EVENTS, size))
        self._table.commit()
        took_s = sum(self._work(batch) for batch in batches)
        return np.append(took_s, self._copied_s()) / sum(map(len, batches)) * 1e6

    def _copied_s(self) -> float:
        """CPU time of copying one row for each entity of a turn, from a place that is new each time."""
        count = min(self.traffic.entities, _TURN_EVENTS)
        start = int(self._random.integers(self.traffic.entities - count + 1))
        began = time.thread_time()
        self._copies[:count] = self._rows[start : start + count]
        return time.thread_time() - began

    def _work(self, batch: Batch) -> NDArray[np.float64]:
        at = [time.thread_time()]
        columns = self._decoder.decode(batch).columns
        partition, offset = batch.partition[columns.rows], batch.offset[columns.rows]
        at.append(time.thread_time())
        slots = self._table.locate(partition, columns.entity)
        at.append(time.thread_time())
        pushed = self._table.push(slots, columns.features, columns.time_ms, partition, offset)
        at.append(time.thread_time())
        errors = self._model.score(pushed.windows)
        at.append(time.thread_time())
        judged = self._table.judge(slots, pushed.first, errors)
        at.append(time.thread_time())
        self._encoder.encode(batch, columns, scores_of(pushed, judged))
        at.append(time.thread_time())
        return np.diff(at)

    def _batches(self, events: int, size: int) -> Iterator[Batch]:
        """The next events, in batches."""
        for start in range(self._sent, self._sent + events, size):
            count = min(size, self._sent + events - start)
            keys, values = self.traffic.pairs(start, count)
            content = Blobs.of(values)
            yield Batch(
                content.data,
                content.ends,
                content.null,
                np.array(self.traffic.partitions(start, count, _PARTITIONS), np.int32),
                np.arange(start, start + count),
                np.full(count, -1),
                Blobs.of(keys),
            )
        self._sent += events


class _OneSchema:
    """A registry that knows one schema."""

    framed = True

    def __init__(self, text: str) -> None:
        self._schema = SchemaText(text)

    def get(self, schema_id: int) -> SchemaText:
        """Give the schema of every id."""
        assert schema_id == SCHEMA_ID
        return self._schema
