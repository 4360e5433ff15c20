"""Which version of the model scored what: read from the scored events themselves, which each name theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from confluent_kafka import Message

from stream_infer.avro.decoder import Decoder
from stream_infer.avro.fields import Fields
from stream_infer.avro.source import SchemaSource
from stream_infer.delivery.source import batch_of
from stream_infer.records import Columns

__all__ = ["HistoryReader", "Stretch"]

_FIELDS = ("source_partition", "source_offset")


@dataclass(frozen=True)
class Stretch:
    """Events of one partition, one after the other, that one version scored: source offsets ``first`` to ``last``.

    Offsets between them that are not counted in ``events`` were rejected, or are no records.
    """

    partition: int
    name: str
    version: str
    first: int
    last: int
    events: int


class HistoryReader:
    """Scored events -> stretches."""

    def __init__(self, schemas: SchemaSource) -> None:
        wanted = Fields(_FIELDS, len(_FIELDS), "model_name", None, "model_version")
        self._decoder = Decoder(schemas, wanted)

    def stretches(self, chunks: Iterable[Sequence[Message]]) -> Iterator[Stretch]:
        """The stretches of records that come partition by partition, in offset order."""
        held: Stretch | None = None
        for messages in chunks:
            for stretch in _cut(self._decoder.decode(batch_of(list(messages))).columns) if messages else ():
                if held is not None and _goes_on(held, stretch):
                    held = replace(held, last=stretch.last, events=held.events + stretch.events)
                    continue
                if held is not None:
                    yield held
                held = stretch
        if held is not None:
            yield held


def _goes_on(held: Stretch, stretch: Stretch) -> bool:
    same = (held.partition, held.name, held.version) == (stretch.partition, stretch.name, stretch.version)
    return same and stretch.first > held.last


def _cut(columns: Columns) -> Iterator[Stretch]:
    """The stretches within a batch."""
    if not len(columns) or columns.event_id is None:
        return
    partition, offset = columns.features[:, 0].astype(np.int64), columns.features[:, 1].astype(np.int64)
    models = [(columns.entity[row], columns.event_id[row]) for row in range(len(columns))]
    numbers = {model: number for number, model in enumerate(dict.fromkeys(models))}
    code = np.array([numbers[model] for model in models])
    change = (np.diff(partition) != 0) | (np.diff(code) != 0) | (np.diff(offset) <= 0)
    starts = [0, *(np.flatnonzero(change) + 1).tolist()]
    for start, stop in zip(starts, [*starts[1:], len(columns)], strict=True):
        name, version = (text.decode() for text in models[start])
        yield Stretch(
            int(partition[start]), name, version, int(offset[start]), int(offset[stop - 1]), stop - start
        )
