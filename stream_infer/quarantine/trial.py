"""The other side of the sandbox: the stages of the worker, on a table of its own; nothing is published.

It says which rows it is about to take, in which stage, before it takes them: whatever is the last it said is what
killed it.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from stream_infer.errors import WorkerError
from stream_infer.records import Batch, Columns
from stream_infer.stages import Decoder, Scorer

__all__ = ["Trial"]


class _Table(Protocol):
    def drop(self, partition: int) -> None: ...

    def load(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int: ...


class Trial:
    """Takes batches through decode, window and score as it is sent them, until the connection ends."""

    def __init__(self, connection: Connection, decoder: Decoder, scorer: Scorer, table: _Table) -> None:
        self._connection = connection
        self._decoder = decoder
        self._scorer = scorer
        self._table = table

    def run(self) -> None:
        """Serve. Anything but an end of the connection is a record's doing and ends the process."""
        self._say(ready=True)
        while True:
            try:
                batch, step = self._take()
            except EOFError:
                return
            try:
                self._try(batch, step)
            except (
                WorkerError
            ) as error:  # the model or the registry: no record is to blame, the worker will say so
                self._say(done=True, broken=str(error))
            else:
                self._say(done=True)

    def _try(self, batch: Batch, step: int) -> None:
        decoded = list(self._decode(batch, step))
        entities = {entity for _, _, columns in decoded for entity in _entities(columns)}
        self._say(entities=[entity.decode("latin-1") for entity in sorted(entities)])
        records = self._take()
        partition = int(batch.partition[0])
        self._table.drop(partition)
        self._table.load(partition, [key for key, _ in records], [value for _, value in records])
        for row, part, columns in decoded:
            self._say(row=row, stage="score")
            self._score(part, columns)

    def _decode(self, batch: Batch, step: int) -> Iterator[tuple[int, Batch, Columns]]:
        for row in range(0, len(batch), step):
            self._say(row=row, stage="decode")
            chosen = np.zeros(len(batch), np.bool_)
            chosen[row : row + step] = True
            part = batch.take(chosen)
            yield row, part, self._decoder.decode(part).columns

    def _score(self, batch: Batch, columns: Columns) -> None:
        partition, offset = batch.partition[columns.rows], batch.offset[columns.rows]
        fresh = self._scorer.fresh(columns, partition, offset)
        self._scorer.score(columns.take(fresh), partition[fresh], offset[fresh])

    def _say(self, **message: Any) -> None:
        self._connection.send_bytes(json.dumps(message).encode())

    def _take(self) -> Any:
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own parent made it


def _entities(columns: Columns) -> list[bytes]:
    return [columns.entity[row] for row in range(len(columns))]
