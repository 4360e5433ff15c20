"""Rows of a batch, with what both models said of them -> pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_infer.log import escaped
from stream_infer.pairs import Pairs, Side
from stream_infer.records import Batch, Columns, Scores, Text
from stream_infer.shadow.outcomes import SCORED, Outcomes

__all__ = ["Details", "Draft", "Work"]

_LONGEST_REASON = 500
_GONE = ("gone", "the input topic no longer had the record when the shadow read it")


class Details(Protocol):
    """What is wanted of few events only."""

    def identity(self, payload: bytes) -> tuple[bytes, bytes, int]:
        """Event id, entity and time of a scored event."""

    def contributions(self, payload: bytes) -> bytes:
        """The contributions of a scored event, encoded."""

    def own_contributions(self, top: NDArray[np.int32], share: NDArray[np.float32]) -> bytes:
        """The same of a row of the shadow's scores."""


@dataclass(frozen=True, slots=True)
class Work:
    """The ``rows`` (int64, n) of a batch that are to be compared.

    ``columns`` and ``scores`` are those of the rows that the shadow scored, ``refused`` says why it did not score the
    others; ``at`` (int64, n) is where the rows are in ``outcomes``.
    """

    batch: Batch
    rows: NDArray[np.int64]
    columns: Columns
    scores: Scores
    refused: Mapping[int, tuple[str, str]]
    outcomes: Outcomes
    at: NDArray[np.int64]

    def mine(self) -> NDArray[np.int64]:
        """Where each row is among the columns, -1 where the shadow has no score."""
        index = np.full(len(self.batch), -1)
        index[self.columns.rows] = np.arange(len(self.columns))
        return index[self.rows]


class Draft:
    """Makes pairs for a shadow whose model is ``model`` (name, version)."""

    def __init__(
        self,
        details: Details,
        model: tuple[str, str],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._details = details
        self._model = Text.of([part.encode() for part in model])
        self._now_ms = now_ms

    def pairs(self, work: Work) -> Pairs:
        """A pair for each row."""
        mine = work.mine()
        primary, shadow = self._primary(work), self._shadow(work, mine)
        flipped = primary.scored & shadow.scored & (primary.is_anomaly != shadow.is_anomaly)
        primary.contributions = self._contributed(work, flipped & primary.is_anomaly)
        shadow.contributions = self._own_contributed(work, mine, flipped & shadow.is_anomaly)
        event_id, entity, time_ms = self._identities(work, mine)
        return Pairs(
            event_id,
            entity,
            time_ms,
            work.batch.timestamp_ms[work.rows],
            work.batch.partition[work.rows],
            work.batch.offset[work.rows],
            primary,
            shadow,
        )

    def _primary(self, work: Work) -> Side:
        outcomes, at = work.outcomes, work.at
        numbers = outcomes.numbers[at]
        models = [outcomes.model[i] for i in at.tolist()]
        known = sorted(set(models))
        code = {model: number for number, model in enumerate(known)}
        codes = np.fromiter(map(code.__getitem__, models), np.int64, len(models))
        rejects = {
            row: (reject.error, reject.reason)
            for row, reject in enumerate(map(outcomes.rejects.get, at.tolist()))
            if reject is not None
        }
        error, reason = _why(len(at), rejects)
        return Side(
            Text.of([name for name, _ in known]).take(codes),
            Text.of([version for _, version in known]).take(codes),
            outcomes.kind[at] == SCORED,
            numbers[:, 0],
            numbers[:, 1],
            numbers[:, 2] != 0,
            numbers[:, 3] != 0,
            error,
            reason,
            _sparse(len(at), {}),
            outcomes.published_ms[at],
        )

    def _shadow(self, work: Work, mine: NDArray[np.int64]) -> Side:
        scored, scores, count = mine >= 0, work.scores, len(mine)
        gone = work.outcomes.gone[work.at]
        refused = {
            row: _GONE if gone[row] else work.refused[int(work.rows[row])]
            for row in np.flatnonzero(~scored).tolist()
        }
        error, reason = _why(count, refused)
        every = np.zeros(count, np.int64)
        return Side(
            self._model.take(every),
            self._model.take(every + 1),
            scored,
            _spread(scores.score, mine),
            _spread(scores.threshold, mine),
            _spread(scores.is_anomaly, mine),
            _spread(scores.window_full, mine),
            error,
            reason,
            _sparse(count, {}),
            np.full(count, self._now_ms()),
        )

    def _contributed(self, work: Work, wanted: NDArray[np.bool_]) -> Text:
        found = {
            row: self._details.contributions(work.outcomes.scored_event(int(work.at[row])))
            for row in np.flatnonzero(wanted).tolist()
        }
        return _sparse(len(wanted), found)

    def _own_contributed(self, work: Work, mine: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Text:
        top, share = work.scores.top, work.scores.share
        found = {
            row: self._details.own_contributions(top[mine[row]], share[mine[row]])
            for row in np.flatnonzero(wanted).tolist()
        }
        return _sparse(len(wanted), found)

    def _identities(self, work: Work, mine: NDArray[np.int64]) -> tuple[Text, Text, NDArray[np.int64]]:
        """Event id, entity and time: the shadow's own reading, else the primary's, else what the record says."""
        count, columns = len(mine), work.columns
        ids = columns.event_id if columns.event_id is not None else _sparse(len(columns), {})
        time_ms = _spread(columns.time_ms, mine)
        event_ids: dict[int, bytes] = {}
        entities: dict[int, bytes] = {}
        for row in np.flatnonzero(mine < 0).tolist():
            event_ids[row], entities[row], time_ms[row] = self._identity(work, row)
        event_id, entity = _spread_text(ids, mine), _spread_text(columns.entity, mine)
        if event_ids:
            event_id = _filled(event_id, _sparse(count, event_ids), mine < 0)
            entity = _filled(entity, _sparse(count, entities), mine < 0)
        return event_id, entity, time_ms

    def _identity(self, work: Work, row: int) -> tuple[bytes, bytes, int]:
        at = int(work.at[row])
        if work.outcomes.kind[at] == SCORED:
            return self._details.identity(work.outcomes.scored_event(at))
        key = work.batch.keys[int(work.rows[row])] or b""
        return b"", key.decode("utf-8", "replace").encode(), int(work.batch.timestamp_ms[work.rows[row]])


def _why(count: int, reasons: Mapping[int, tuple[str, str]]) -> tuple[Text, Text]:
    """Errors and reasons of single rows as columns."""
    errors = {row: error.encode("utf-8", "replace") for row, (error, _) in reasons.items()}
    texts = {
        row: escaped(text, _LONGEST_REASON).encode("utf-8", "replace") for row, (_, text) in reasons.items()
    }
    return _sparse(count, errors), _sparse(count, texts)


def _spread(values: NDArray[Any], mine: NDArray[np.int64]) -> NDArray[Any]:
    """The value of each row, zero where it has none."""
    if not len(values):
        return np.zeros(len(mine), values.dtype)
    return np.where(mine >= 0, values[mine], values.dtype.type(0))


def _spread_text(text: Text, mine: NDArray[np.int64]) -> Text:
    return Text(text.data, _spread(text.start, mine), _spread(text.length, mine))


def _sparse(count: int, found: Mapping[int, bytes]) -> Text:
    """A column of ``count`` texts that are empty but for these."""
    start, length = np.zeros(count, np.int64), np.zeros(count, np.int32)
    few = Text.of(list(found.values()))
    rows = list(found)
    start[rows], length[rows] = few.start, few.length
    return Text(few.data, start, length)


def _filled(text: Text, other: Text, where: NDArray[np.bool_]) -> Text:
    """The other column's rows where it says so."""
    start = np.where(where, other.start + len(text.data), text.start)
    return Text(np.concatenate([text.data, other.data]), start, np.where(where, other.length, text.length))
