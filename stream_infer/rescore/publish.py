"""The stage that writes: a correction for each wanted event that now has a score."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from stream_infer.delivery.delivery import Delivery, write_whole
from stream_infer.delivery.outgoing import Outgoing
from stream_infer.publish import Encoder
from stream_infer.records import Batch, Blobs, Columns, HeaderColumn, Rejects, Scores
from stream_infer.rescore.offsets import Offsets
from stream_infer.rescore.scored_by import CORRECTS

__all__ = ["CorrectionPublisher"]


class CorrectionPublisher:
    """Writes scored events through a delivery, each with a header that names the version it ``corrects``.

    ``passed_headers`` are the (lower-case) names of the record headers that they keep. What cannot be scored now
    either, or is not ``wanted``, is written nowhere: it has its place in the scored or the reject topic already.
    """

    def __init__(
        self,
        delivery: Delivery,
        encoder: Encoder,
        topic: str,
        corrects: str,
        wanted: Offsets,
        passed_headers: Collection[str],
    ) -> None:
        self._delivery = delivery
        self._encoder = encoder
        self._topic = topic
        self._mark = (CORRECTS, corrects.encode())
        self._wanted = wanted
        self._passed_headers = frozenset(name.lower() for name in passed_headers)

    def publish(
        self, batch: Batch, columns: Columns, scores: Scores, rejects: Sequence[Rejects]
    ) -> tuple[Columns, Scores, list[Rejects]]:
        """Write the wanted rows; returns them. Raises Undone when the producer takes no more."""
        self._delivery.begin()
        self._delivery.ledger.scored += len(columns)
        self._delivery.ledger.rejected += sum(map(len, rejects))
        wanted = self._wanted.holds(batch.partition[columns.rows], batch.offset[columns.rows])
        columns, scores = columns.take(wanted), scores.take(wanted)
        if len(columns):
            self._write(batch, columns, scores)
        return columns, scores, []

    def _write(self, batch: Batch, columns: Columns, scores: Scores) -> None:
        payload, ends = self._encoder.encode(batch, columns, scores)
        rows = columns.rows.tolist()
        outgoing = Outgoing(
            Blobs(payload, ends, np.zeros(len(ends), np.bool_)),
            batch.partition[columns.rows],
            np.arange(len(rows)),
            batch.keys.take(rows),
            HeaderColumn.of([self._headers(batch, row) for row in rows]),
        )
        write_whole(self._delivery, self._topic, outgoing, "a correction")

    def _headers(self, batch: Batch, row: int) -> list[tuple[str, bytes | None]]:
        kept = [] if batch.headers is None else batch.headers[row]
        return [
            *(header for header in kept if header[0].lower() in self._passed_headers),
            self._mark,
        ]
